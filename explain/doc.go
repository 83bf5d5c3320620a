// Package explain opens every number of one training step: of the forward pass, the
// cost, the backward pass and the update. A Step is recorded from a real step of
// package train; nothing in it is computed a second time or in another way. For any
// number in it there is the formula with the numbers put in, what it is made of,
// where it goes, and a check of its gradient by finite differences.
//
// Beside that: saliency of one example, the examples that excite a unit most, and
// the health of a network under training.
package explain
