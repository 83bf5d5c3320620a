// Package modelfile stores networks as safetensors files and reads them back. It
// trusts no file: whatever the bytes, reading ends with a model that is whole and
// finite or with an error of one line, and no network is allocated before the
// file is known to have all of its numbers.
//
// # The file
//
// A safetensors file is the length of its header (8 bytes, little-endian), the
// header (JSON, padded with blanks to a multiple of 8 bytes), and the numbers of
// all tensors (little-endian, row-major), one tensor right after the other. Here
// a tensor is a parameter of the network under its name, such as
// "1.dense.weight", running statistics of batch normalisation included. The
// header's __metadata__ says the rest, as strings:
//
//	glassnet.format         "1"
//	glassnet.architecture   JSON of nn.Architecture
//	glassnet.dataset, ...   the Facts, one key each
//
// Equal models give equal bytes.
//
// # In Python
//
//	from safetensors import safe_open
//	from safetensors.torch import load_file
//
//	tensors = load_file("model.safetensors")
//	facts = safe_open("model.safetensors", "pt").metadata()
//
// A Dense weight W is [in, out], for y = x·W + b. torch.nn.Linear keeps the
// transpose, [out, in]:
//
//	linear.weight.data = tensors["1.dense.weight"].T
//	linear.bias.data = tensors["1.dense.bias"]
//
// Gamma, beta, running_mean and running_variance of a batch_norm are weight,
// bias, running_mean and running_var of torch.nn.BatchNorm1d; its momentum is
// 1 - decay.
package modelfile
