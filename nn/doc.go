// Package nn builds small neural networks from layers whose forward and backward
// passes are written out by hand, each beside its formula. All intermediate
// values of a pass stay readable in a Trace.
//
// A matrix of inputs has one example per row. A Dense weight is [in, out].
// Numbers are float32 or float64 throughout.
//
// Errors of description (widths that do not fit, unknown kinds) are returned by
// New and Build. What only a fault of the calling program can bring about panics: a
// matrix of the wrong shape, a label that is no class, a training batch of one example
// under batch normalisation, a size or an option out of range in the function that makes
// a layer.
package nn
