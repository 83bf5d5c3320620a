package modelfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"glassnet/internal/usererr"
)

// The parts of a small valid file: a dense layer of 2x2.
const (
	architecture = `{\"input\":2,\"layers\":[{\"kind\":\"dense\",\"units\":2}]}`
	metadata     = `"__metadata__":{"glassnet.format":"1","glassnet.architecture":"` + architecture + `"}`
	weight       = `"1.dense.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`
	bias         = `"1.dense.bias":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}`
	whole        = "{" + metadata + "," + weight + "," + bias + "}"
)

// layers is the file's header for another list of layers, as JSON.
func layers(list string) string {
	return change(`[{\"kind\":\"dense\",\"units\":2}]`, strings.ReplaceAll(list, `"`, `\"`))
}

// change is the header of the small file with old replaced by new.
func change(old, new string) string {
	if strings.Count(whole, old) != 1 {
		panic(fmt.Sprintf("%q is not once in the header", old))
	}
	return strings.Replace(whole, old, new, 1)
}

// meta is the header with more metadata.
func meta(key, value string) string {
	return change(`"glassnet.format":"1"`, fmt.Sprintf(`"glassnet.format":"1",%q:%q`, key, value))
}

func file(header string, data []byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func floats[F float32 | float64](v ...F) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, v)
	return b
}

var sixNumbers = floats[float32](1, 2, 3, 4, 5, 6)

type sample struct {
	name string
	data []byte
	want string // part of the error; empty for a valid file
}

// withHeader is a file of the six numbers under another header.
func withHeader(name, header, want string) sample {
	return sample{name, file(header, sixNumbers), want}
}

// many is the header with old followed by the text of each i < n.
func many(header, old string, n int, text func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(text(i))
	}
	before, after, _ := strings.Cut(header, old)
	return before + b.String() + old + after
}

func length(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func ones(n int) []byte { return bytes.Repeat(floats[float32](1), n) }

func corpus() []sample {
	valid := file(whole, sixNumbers)
	overlapping := "{" + metadata
	for i := range 10 {
		overlapping += fmt.Sprintf(`,"%d":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}`, i)
	}
	norm := func(variance float32) []byte {
		h := strings.ReplaceAll(layers(`[{"kind":"batch_norm","epsilon":1e-5,"decay":0.9}]`), weight+","+bias,
			`"1.batch_norm.gamma":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
				`"1.batch_norm.beta":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},`+
				`"1.batch_norm.running_mean":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},`+
				`"1.batch_norm.running_variance":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}`)
		return file(h, floats(1, 1, -1, 0, -1, 1, 1, variance))
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	double := strings.NewReplacer("F32", "F64", "[0,16]", "[0,32]", "[16,24]", "[32,48]").Replace(whole)

	return []sample{
		// The length of the header.
		{"empty", nil, "0 bytes, want a safetensors file"},
		{"7 bytes", valid[:7], "7 bytes, want a safetensors file"},
		{"8 bytes", length(1), "header of 1 bytes, but the file has only 0 after byte 8"},
		{"N = 0", append(length(0), sixNumbers...), `byte 8: the header begins with "", want {`},
		{"N = file + 1", append(length(uint64(len(valid)+1)), valid[8:]...), "but the file has only"},
		{"N = one more than is there", append(length(uint64(len(valid)-7)), valid[8:]...), "but the file has only"},
		{"N = all of the file", append(length(uint64(len(valid)-8)), valid[8:]...), "not UTF-8"},
		{"N = 100,000,001", append(length(100_000_001), valid[8:]...), "byte 0: header of 100000001 bytes, want at most 1048576"},
		{"N = 2^63", append(length(1<<63), valid[8:]...), "header of 9223372036854775808 bytes"},
		{"N = 2^64 - 1", append(length(math.MaxUint64), valid[8:]...), "header of 18446744073709551615 bytes"},
		{"N = 2^64 - 8", append(length(math.MaxUint64-7), valid[8:]...), "header of 18446744073709551608 bytes"},
		{"a PNG", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"), "not a model of this program"},
		{"header of 1 MiB + 8", file(whole+strings.Repeat(" ", maxHeader+8-len(whole)), sixNumbers), "want at most 1048576"},

		// JSON.
		withHeader("null", "null", `begins with "n"`),
		withHeader("an array", "[]", `begins with "["`),
		withHeader("leading blank", " "+whole, `begins with " "`),
		withHeader("byte order mark", "\ufeff"+whole, `begins with "\ufeff"`),
		withHeader("not JSON", "{pickle}", "byte 9: invalid character 'p'"),
		withHeader("cut JSON", whole[:len(whole)-1], "the JSON text ends too early"),
		withHeader("cut in a string", whole[:20], "the JSON text ends too early"),
		withHeader("cut after a key", `{"a"`, "the JSON text ends too early"),
		withHeader("no comma", "{"+metadata+weight+"}", "invalid character '\"' after"),
		withHeader("comma at the end", whole[:len(whole)-1]+",}", "invalid character '}'"),
		withHeader("wrong bracket", whole[:len(whole)-1]+"]", "invalid character ']'"),
		withHeader("two objects", whole+"{}", "text after the end of the JSON object"),
		withHeader("NUL after the end", whole+"\x00", "invalid character '\\x00'"),
		withHeader("control character", change("dense.weight", "dense\n.weight"), "in string literal"),
		withHeader("number as key", "{1:2}", "invalid character '1'"),
		withHeader("not UTF-8", change("dense.weight", "dense\xff.weight"), "not UTF-8"),
		withHeader("U+FFFD", change("dense.weight", "dense\ufffd.weight"), "or U+FFFD"),
		withHeader("overlong UTF-8", change("dense.weight", "dense\xc0\xae.weight"), "not UTF-8"),
		withHeader("half a surrogate pair in a name", change("dense.weight", `dense\ud800.weight`), "half a surrogate pair"),
		withHeader("half a surrogate pair in metadata", change(`"glassnet.format":"1"`, `"glassnet.format":"1","a":"\udc00"`), "half a surrogate pair"),
		withHeader("nesting of 100,000", `{"a":`+strings.Repeat("[", 100_000), `tensor "a" is "[", want an object`),
		withHeader("nesting in a shape", change("[2,2]", strings.Repeat("[", 100_000)), `shape is "[", want a whole number`),
		withHeader("nesting in metadata", change(`"glassnet.format":"1"`, `"a":`+strings.Repeat(`{"a":`, 50_000)), `is "{", want a string`),
		withHeader("many strange brackets", `{"a":`+strings.Repeat("]", 1000), "invalid character ']'"),

		// Entries.
		withHeader("empty object", "{}", "byte 10: 24 bytes after the last tensor"),
		withHeader("duplicate tensor", "{"+metadata+","+weight+","+weight+","+bias+"}", `the header has "1.dense.weight" twice`),
		withHeader("duplicate tensor, escaped", "{"+metadata+","+weight+","+strings.Replace(weight, "dense", `\u0064ense`, 1)+","+bias+"}", `"1.dense.weight" twice`),
		withHeader("duplicate __metadata__", "{"+metadata+","+metadata+","+weight+","+bias+"}", `"__metadata__" twice`),
		withHeader("duplicate metadata key", meta("glassnet.format", "1"), `__metadata__ has "glassnet.format" twice`),
		withHeader("duplicate field", change("[2,2]", `[2,2],"shape":[2,2]`), `has "shape" twice`),
		withHeader("entry is null", change(`{"dtype":"F32","shape":[2],"data_offsets":[16,24]}`, "null"), `tensor "1.dense.bias" is null, want an object`),
		withHeader("entry is an array", `{"a":[]}`, `tensor "a" is "[", want an object`),
		withHeader("SHAPE", change(`"shape":[2,2]`, `"SHAPE":[2,2]`), `has a field "SHAPE", want dtype, shape and data_offsets`),
		withHeader("unknown field", change(`"shape":[2,2]`, `"shape":[2,2],"strides":[2,1]`), `has a field "strides"`),
		withHeader("no shape", change(`"shape":[2,2],`, ""), `"1.dense.weight" lacks its dtype, its shape`),
		withHeader("no dtype", change(`"dtype":"F32","shape":[2,2]`, `"shape":[2,2]`), "lacks its dtype"),
		withHeader("no data_offsets", change(`,"data_offsets":[0,16]`, ""), "lacks its dtype"),
		withHeader("dtype is a number", change(`"F32","shape":[2,2]`, `32,"shape":[2,2]`), `dtype is "32", want a string`),
		withHeader("metadata is null", change(metadata, `"__metadata__":null`), "__metadata__ is null, want an object"),
		withHeader("metadata value is a number", change(`"glassnet.format":"1"`, `"glassnet.format":1`), `a value of __metadata__ is "1", want a string`),
		withHeader("metadata value is null", change(`"glassnet.format":"1"`, `"glassnet.format":null`), "is null, want a string"),
		withHeader("metadata value is an object", change(`"glassnet.format":"1"`, `"glassnet.format":{}`), `is "{", want a string`),

		// Types and shapes.
		withHeader("type F99", change(`"F32","shape":[2,2]`, `"F99","shape":[2,2]`), `numbers of type "F99", want F32 or F64`),
		withHeader("type Q4", change(`"F32","shape":[2,2]`, `"Q4","shape":[2,2]`), `numbers of type "Q4"`),
		withHeader("type F16", change(`"F32","shape":[2,2]`, `"F16","shape":[2,2]`), `numbers of type "F16"`),
		withHeader("type BF16", change(`"F32","shape":[2,2]`, `"BF16","shape":[2,2]`), `numbers of type "BF16"`),
		withHeader("type f32", change(`"F32","shape":[2,2]`, `"f32","shape":[2,2]`), `numbers of type "f32"`),
		withHeader("type I32", change(`"F32","shape":[2,2]`, `"I32","shape":[2,2]`), `numbers of type "I32"`),
		withHeader("negative size", change("[2,2]", "[-2,-2]"), `shape is "-2", want a whole number`),
		withHeader("size -0", change("[2,2]", "[2,2,-0]"), `shape is "-0", want a whole number`),
		withHeader("size 1e3", change("[2,2]", "[1e3,2]"), `shape is "1e3", want a whole number`),
		withHeader("size 2.0", change("[2,2]", "[2.0,2]"), `shape is "2.0", want a whole number`),
		withHeader(`size "2"`, change("[2,2]", `["2",2]`), `shape is "2", want a whole number`),
		withHeader("size true", change("[2,2]", `[true,2]`), `shape is "true", want a whole number`),
		withHeader("size null", change("[2,2]", `[null,2]`), `shape is null, want a whole number`),
		withHeader("size 02", change("[2,2]", `[02,2]`), "a shape with a 0"),
		withHeader("offset 00", change("[0,16]", `[00,16]`), "invalid character '0'"),
		withHeader("shape is a number", change(`"shape":[2,2]`, `"shape":4`), `shape is "4", want an array`),
		withHeader("2^63 - 1", change("[2,2]", "[2,9223372036854775807]"), "want a whole number from 0 to 2147483647"),
		withHeader("2^64 + 2", change("[2,2]", "[2,18446744073709551618]"), "want a whole number"),
		withHeader("product wraps to 4", change("[2,2]", "[4194305,4194305,211106198978564]"), "want a whole number"),
		withHeader("product wraps below 2^31", change("[2,2]", "[65536,65536,65536,65536]"), "needs more than the 24 bytes"),
		withHeader("product times 4 wraps", change("[2,2]", "[2147483647,2147483647,2]"), "needs more than the 24 bytes"),
		withHeader("a number of 10,000 digits", change("[2,2]", "["+strings.Repeat("9", 10_000)+"]"), "want a whole number"),
		withHeader("9 sizes", change("[2,2]", "[2,2,1,1,1,1,1,1,1]"), "more than 8 sizes"),
		withHeader("100,000 sizes", change("[2,2]", "[2,2"+strings.Repeat(",1", 100_000)+"]"), "more than 8 sizes"),
		withHeader("size 0", change("[2,2]", "[0,4]"), "a shape with a 0"),
		withHeader("empty tensor on a used offset", change(bias, bias+`,"none":{"dtype":"F32","shape":[0],"data_offsets":[16,16]}`), "a shape with a 0"),
		withHeader("shape smaller than the bytes", change("[2,2]", "[2]"), "data_offsets [0, 16], 16 bytes, want 8 for F32 [2]"),
		withHeader("shape larger than the bytes", change("[2,2]", "[3,2]"), "16 bytes, want 24"),

		// Offsets.
		withHeader("one offset", change("[0,16]", "[0]"), "one of its two data_offsets"),
		withHeader("three offsets", change("[0,16]", "[0,8,16]"), "more than two data_offsets"),
		withHeader("negative offset", change("[0,16]", "[-16,0]"), `data_offsets is "-16"`),
		withHeader("offset 16.0", change("[0,16]", "[0,16.0]"), `data_offsets is "16.0"`),
		withHeader("end before begin", change("[0,16]", "[16,0]"), "data_offsets [16, 0], -16 bytes, want 16"),
		withHeader("end after the file", change("[16,24]", "[20,28]"), `"1.dense.bias" ends at byte 28 after the header, but the file ends at 24`),
		withHeader("end at 2^63 - 1", change("[16,24]", "[16,9223372036854775807]"), "want a whole number from 0 to 2147483647"),
		withHeader("overlap", change("[16,24]", "[12,20]"), `"1.dense.bias" begins at byte 12 after the header, want 16`),
		withHeader("ten names for the same bytes", overlapping+"}", `"1" begins at byte 0 after the header, want 24`),
		{"hole", file(change("[16,24]", "[20,28]"), ones(7)), `"1.dense.bias" begins at byte 20 after the header, want 16`},
		{"hole at the start", file(strings.NewReplacer("[16,24]", "[20,28]", "[0,16]", "[4,20]").Replace(whole), ones(7)), `"1.dense.weight" begins at byte 4 after the header, want 0`},
		{"trailing byte", append(bytes.Clone(valid), 0), fmt.Sprintf("byte %d: 1 bytes after the last tensor", len(valid))},
		{"trailing tensor", append(bytes.Clone(valid), sixNumbers...), "24 bytes after the last tensor"},
		{"a byte short", valid[:len(valid)-1], "ends at byte 24 after the header, but the file ends at 23"},
		{"no numbers", valid[:len(valid)-24], "but the file ends at 0"},

		// Names and shapes against the architecture.
		withHeader("name with a NUL", change("1.dense.weight", `1.dense\u0000`), `tensor "1.dense.weight" [2 2] is missing`),
		{"extra name with newline and escape", file(change(bias, bias+`,"\n\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}`), ones(7)), `tensor "\n\x1b[31m" is not one that the architecture has`},
		{"extra name ../", file(change(bias, bias+`,"../../etc/passwd":{"dtype":"F32","shape":[],"data_offsets":[24,28]}`), ones(7)), `tensor "../../etc/passwd" is not one`},
		{"extra name of 1000 letters", file(change(bias, bias+`,"`+strings.Repeat("x", 1000)+`":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}`), ones(7)), `xxx" is not one`},
		{"state of an optimiser", file(change(bias, bias+`,"1.dense.bias.momentum":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}`), ones(7)), `"1.dense.bias.momentum" is not one`},
		withHeader("missing layer", layers(`[{"kind":"dense","units":2},{"kind":"dense","units":2}]`), `tensor "2.dense.weight" [2 2] is missing`),
		{"missing bias", file("{"+metadata+","+weight+"}", ones(4)), `tensor "1.dense.bias" [2] is missing`},
		withHeader("extra bias", layers(`[{"kind":"dense","units":2,"no_bias":true}]`), `tensor "1.dense.bias" is not one`),
		withHeader("other units", layers(`[{"kind":"dense","units":3}]`), `tensor "1.dense.weight" has shape [2 2], want [2 3]`),
		withHeader("units of a giant", layers(`[{"kind":"dense","units":2147483647}]`), "want [2 2147483647]"),
		withHeader("other rank", change("[2,2]", "[1,2,2]"), "has shape [1 2 2], want [2 2]"),
		withHeader("one axis", change("[2,2]", "[4]"), "has shape [4], want [2 2]"),
		withHeader("no tensors but wanted", `{`+metadata+`}`, "24 bytes after the last tensor"),
		{"no tensors", file(`{`+metadata+`}`, nil), `tensor "1.dense.weight" [2 2] is missing`},

		// Metadata.
		withHeader("no metadata", "{"+weight+","+bias+"}", "no glassnet.format in the metadata: not a model of this program"),
		withHeader("newer format", change(`"glassnet.format":"1"`, `"glassnet.format":"2","glassnet.new":"x"`), `glassnet.format is "2", want "1": written by another version`),
		withHeader("no architecture", change("glassnet.architecture", "architecture"), "glassnet.architecture: byte 0: the JSON text ends too early"),
		withHeader("unknown glassnet key", meta("glassnet.colour", "red"), `unknown key "glassnet.colour"`),
		withHeader("architecture is null", change(architecture, "null"), "architecture is null, want an object"),
		withHeader("architecture with text after it", change(architecture, architecture+"x"), "byte 49: invalid character 'x'"),
		withHeader("architecture with another after it", change(architecture, architecture+architecture), "byte 49: text after the end"),
		withHeader("architecture with Input", change(`\"input\"`, `\"Input\"`), `byte 1: unknown field "Input"`),
		withHeader("architecture with two inputs", change(`\"input\":2`, `\"input\":2,\"input\":2`), `architecture has "input" twice`),
		withHeader("architecture with input null", change(`\"input\":2`, `\"input\":null`), "input is null"),
		withHeader("architecture with input 2.0", change(`\"input\":2`, `\"input\":2.0`), `input is "2.0", want a whole number`),
		withHeader("architecture without input", change(`\"input\":2,`, ``), `has shape [2 2], want [0 2]`),
		withHeader("architecture without layers", change(`,\"layers\":[{\"kind\":\"dense\",\"units\":2}]`, ``), `tensor "1.dense.weight" is not one`),
		{"architecture without anything", file("{"+strings.Replace(metadata, architecture, "{}", 1)+"}", nil), "architecture: input of 0 features"},
		withHeader("layers null", layers("null"), "layers is null, want an array"),
		withHeader("layer null", layers("[null]"), "layer is null, want an object"),
		withHeader("layer with Units", layers(`[{"kind":"dense","Units":2}]`), `layer has an unknown field "Units"`),
		withHeader("layer twice units", layers(`[{"kind":"dense","units":2,"units":2}]`), `layer has "units" twice`),
		withHeader("layer of unknown kind", layers(`[{"kind":"dropout"}]`), `layer 1: unknown kind "dropout"`),
		withHeader("layer without kind", layers(`[{"units":2}]`), `layer 1: unknown kind ""`),
		withHeader("kind is a number", layers(`[{"kind":1}]`), `kind is "1", want a string`),
		withHeader("no_bias is a number", layers(`[{"kind":"dense","units":2,"no_bias":1}]`), `no_bias is "1", want true or false`),
		withHeader("epsilon is a string", layers(`[{"kind":"batch_norm","epsilon":"1"}]`), `epsilon is "1", want a number`),
		withHeader("epsilon 1e999", layers(`[{"kind":"batch_norm","epsilon":1e999}]`), `epsilon is "1e999", want a number that fits`),
		withHeader("layer with a field of another kind", layers(`[{"kind":"dense","units":2,"epsilon":1}]`), "has a field that this kind of layer does not have"),
		withHeader("nested layers", layers(`[[[[[`), `layer is "[", want an object`),
		withHeader("200,000 layers", layers("["+strings.Repeat("{},", 200_000)+"{}]"), "more than 1024 layers"),

		// Numbers.
		{"NaN", file(whole, floats(1, 2, 3, nan, 5, 6)), `tensor "1.dense.weight": number 3 is NaN, want a finite one`},
		{"-Inf", file(whole, floats(1, 2, 3, 4, 5, inf)), `tensor "1.dense.bias": number 1 is -Inf`},
		{"NaN in F64", file(double, floats(1, 2, 3, 4, math.NaN(), 6)), `tensor "1.dense.bias": number 0 is NaN`},
		{"1e300 in F64 into float32", file(double, floats(1, 2, 3, 4, 5, 1e300)), `number 1 is 1e+300, too large for float32`},
		{"negative running variance", norm(-0.5), `tensor "1.batch_norm.running_variance": number 1 is -0.5, want a variance >= 0`},

		// Headers of nearly 1 MiB.
		withHeader("100,000 metadata keys", many(meta("format", "pt"), `"format":"pt",`, 100_000, func(i int) string { return fmt.Sprintf(`"%x":"",`, i) }), ""),
		withHeader("19,000 tensors on the same bytes", many(whole, bias, 19_000, func(i int) string {
			return fmt.Sprintf(`"%x":{"dtype":"F32","shape":[],"data_offsets":[0,4]},`, i)
		}), `tensor "0" begins at byte 0 after the header, want 16`),
		withHeader("50,000 layers", layers("["+strings.Repeat(`{"kind":"relu"},`, 50_000)+"{}]"), "more than 1024 layers"),

		// Valid, if unusual.
		withHeader("as it is", whole, ""),
		withHeader("header not padded", change(`,"data_offsets":[0,16]`, ` ,"data_offsets" :[ 0,16 ]`), ""),
		withHeader("padded with blanks", whole+strings.Repeat(" ", 1000), ""),
		withHeader("white space everywhere", change(weight+","+bias, strings.NewReplacer(",", " ,\t", "{", "{ ", ":", " :\r\n").Replace(weight+","+bias)), ""),
		withHeader("escaped letters", change("1.dense.weight", `\u0031.dense\u002eweight`), ""),
		withHeader("entries in another order", "{"+bias+","+weight+","+metadata+"}", ""),
		withHeader("fields in another order", change(bias, `"1.dense.bias":{"data_offsets":[16,24],"shape":[2],"dtype":"F32"}`), ""),
		withHeader("tensors stored in another order", strings.NewReplacer("[16,24]", "[0,8]", "[0,16]", "[8,24]").Replace(whole), ""),
		withHeader("metadata of another program", meta("format", "pt"), ""),
		withHeader("emoji in metadata", meta("note", "\U0001F600"), ""),
		withHeader("surrogate pair in metadata", change(`"glassnet.format":"1"`, `"glassnet.format":"1","note":"\ud83d\ude00"`), ""),
		{"-0, subnormal and largest", file(whole, floats(float32(math.Copysign(0, -1)), 1e-45, math.MaxFloat32, -math.MaxFloat32, 0, 1)), ""},
		{"F64", file(double, floats(1, 2, 3, 4, 5, 6e-300)), ""},
		{"F32 and F64", file(strings.NewReplacer(`"F32","shape":[2],`, `"F64","shape":[2],`, "[16,24]", "[16,32]").Replace(whole), append(ones(4), floats(1.0, 2.0)...)), ""},
		{"variance 0", norm(0), ""},
	}
}

func decodeBytes[T float32 | float64](b []byte) (*Model[T], error) {
	return Decode[T](bytes.NewReader(b), int64(len(b)), "a\nb.safetensors")
}

func TestCorpus(t *testing.T) {
	invalid, valid := 0, 0
	var worst uint64
	for _, s := range corpus() {
		t.Run(s.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decodeBytes[float32](s.data)
			runtime.ReadMemStats(&after)
			taken := after.TotalAlloc - before.TotalAlloc
			worst = max(worst, taken)
			if limit := uint64(64<<20 + 4*len(s.data)); taken > limit {
				t.Errorf("Decode takes %d bytes of memory, want at most %d", taken, limit)
			}
			if s.want == "" {
				valid++
				if err != nil {
					t.Fatalf("Decode = %v, want no error", err)
				}
				if _, err := decodeBytes[float64](s.data); err != nil {
					t.Errorf("Decode to float64 = %v, want no error", err)
				}
				return
			}
			invalid++
			if err == nil {
				t.Fatalf("Decode = nil, want an error with %q", s.want)
			}
			if _, user := usererr.Find(err); !user {
				t.Errorf("Decode = %v, want it marked as the user's", err)
			}
			got := err.Error()
			if !strings.Contains(got, s.want) || !strings.HasPrefix(got, `"a\nb.safetensors": `) {
				t.Errorf("Decode = %s, want the name of the file and %q", got, s.want)
			}
			if strings.ContainsAny(got, "\n\r\x00\x1b") || len(got) > 400 {
				t.Errorf("Decode = %q, want one line of at most 400 bytes", got)
			}
		})
	}
	t.Logf("%d invalid, %d valid, at most %d KiB allocated", invalid, valid, worst>>10)
}

// The numbers end up in the right places, whatever the order of tensors.
func TestDecodeValues(t *testing.T) {
	h := strings.NewReplacer("[16,24]", "[0,8]", "[0,16]", "[8,24]").Replace(whole)
	m, err := decodeBytes[float64](file(h, sixNumbers))
	if err != nil {
		t.Fatal(err)
	}
	p := m.Net.Params()
	if got := fmt.Sprint(p[0].Name, p[0].Value, p[1].Name, p[1].Value); got != "1.dense.weight[3 4 5 6]1.dense.bias[1 2]" {
		t.Errorf("parameters = %s", got)
	}
}

func TestReadHeaderTooLarge(t *testing.T) {
	if _, err := readHeader(bytes.NewReader(nil), maxFile+1); err == nil || !strings.Contains(err.Error(), "2147483648 bytes, want at most 2147483647") {
		t.Errorf("readHeader of 2 GiB = %v, want an error", err)
	}
}

// A file that fails or shrinks while it is read is not the user's mistake.
func TestReadErrors(t *testing.T) {
	b := file(whole, sixNumbers)
	for _, good := range []int{0, 7, 8, 100, len(b) - 24, len(b) - 9, len(b) - 1} {
		_, err := Decode[float32](bytes.NewReader(b[:good]), int64(len(b)), "f")
		want := fmt.Sprintf(`"f": byte %d: `, good)
		if _, user := usererr.Find(err); !errors.Is(err, io.ErrUnexpectedEOF) || user || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Decode of a file that ends at %d = %v, want %sunexpected EOF", good, err, want)
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	b := encoded(t, smallModel[float32](t))
	for n := range b {
		if _, err := decodeBytes[float32](b[:n]); err == nil {
			t.Errorf("Decode of the first %d of %d bytes = nil, want an error", n, len(b))
		}
		if n%8 == 0 { // the header's length made to fit
			if _, err := decodeBytes[float32](append(length(uint64(n)), b[8:8+min(n, len(b)-8)]...)); err == nil {
				t.Errorf("Decode of a header cut after %d bytes = nil, want an error", n)
			}
		}
	}
}

// Every bit of length and header flipped: refused, or a valid model of other
// facts. With GLASSNET_EXHAUSTIVE=1 every byte takes all its 255 other values: of
// 408,000 files 18,032 were accepted, all stable.
func TestEveryFlip(t *testing.T) {
	b := encoded(t, smallModel[float32](t))
	head := 8 + int(binary.LittleEndian.Uint64(b))
	step := func(x int) int { return 2 * x }
	if os.Getenv("GLASSNET_EXHAUSTIVE") != "" {
		step = func(x int) int { return x + 1 }
	}
	flips, accepted := 0, 0
	for i := range head {
		for x := 1; x < 256; x = step(x) {
			b[i] ^= byte(x)
			flips++
			if m, err := decodeBytes[float32](b); err == nil {
				accepted++
				checkStable(t, m)
			}
			b[i] ^= byte(x)
		}
	}
	t.Logf("%d flips, %d accepted", flips, accepted)
	if accepted == flips {
		t.Error("nothing was refused")
	}
}

// checkStable checks that a model that was accepted is written, accepted again
// and written the same.
func checkStable[T float32 | float64](t *testing.T, m *Model[T]) {
	t.Helper()
	first := encoded(t, m)
	again, err := decodeBytes[T](first)
	if err != nil {
		t.Fatalf("Decode of an accepted model, written again = %v", err)
	}
	if !bytes.Equal(encoded(t, again), first) {
		t.Errorf("an accepted model changes when it is written and read:\n%q\n%q", first, encoded(t, again))
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range corpus() {
		if len(s.data) < 1<<16 {
			f.Add(s.data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		single, err := decodeBytes[float32](b)
		double, err64 := decodeBytes[float64](b)
		if err == nil {
			if err64 != nil {
				t.Fatalf("float32 accepted, float64 refused: %v", err64)
			}
			checkStable(t, single)
		}
		if err64 == nil {
			checkStable(t, double)
		}
	})
}
