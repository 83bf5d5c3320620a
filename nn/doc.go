// Package nn builds small neural networks from layers whose forward and backward
// passes are written out by hand, each beside its formula. All intermediate
// values of a pass stay readable in a Trace.
//
// A matrix of inputs has one example per row. A Dense weight is [in, out].
// Numbers are float32 or float64 throughout.
//
// Errors of description (widths that do not fit, unknown kinds) are returned by
// New and Build. After that, only a matrix of the wrong shape panics.
package nn
