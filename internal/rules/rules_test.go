// Package rules_test holds the rules of the house that no compiler checks: which
// package may import which, and which functions may not be called where bits
// must be the same on every machine.
package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// mayImport lists what each package may import beside the standard library.
// Imports point downward only.
var mayImport = map[string][]string{
	"internal/usererr":             {},
	"internal/atomicfile":          {},
	"internal/inputfile":           {"internal/usererr"},
	"internal/hugepages":           {"golang.org/x/sys/unix"},
	"internal/elementary":          {},
	"internal/elementary/gentable": {},
	"internal/kernel":              {"internal/elementary", "internal/usererr", "matrix", "golang.org/x/sys/cpu"},
	"internal/numpyrand":           {"internal/elementary"},
	"matrix":                       {},
	"random":                       {"internal/elementary"},
	"nn":                           {"internal/elementary", "internal/kernel", "internal/usererr", "matrix", "random"},
	"nn/nntest":                    {"internal/kernel", "matrix", "nn", "optim", "random"},
	"optim":                        {"internal/kernel", "internal/usererr", "matrix", "nn"},
	"dataset/drawn":                {"internal/usererr"},
	"dataset": {
		"dataset/drawn", "internal/atomicfile", "internal/hugepages", "internal/inputfile", "internal/kernel", "internal/usererr", "matrix",
		"github.com/klauspost/compress/flate", "github.com/klauspost/compress/gzip",
	},
	"train":     {"dataset", "internal/kernel", "internal/usererr", "matrix", "nn", "optim", "random"},
	"modelfile": {"internal/atomicfile", "internal/inputfile", "internal/usererr", "matrix", "nn"},
	"studies":   {},
	"experiment": {
		"dataset", "explain", "internal/atomicfile", "internal/inputfile", "internal/kernel", "internal/numpyrand", "internal/usererr",
		"matrix", "modelfile", "nn", "optim", "random", "studies", "train",
		"github.com/pelletier/go-toml/v2", "gonum.org/v1/gonum/stat", "gonum.org/v1/gonum/stat/distuv",
	},
	"explain":        {"dataset", "internal/elementary", "internal/usererr", "matrix", "nn", "optim", "random", "train"},
	"internal/bench": {"dataset", "internal/kernel", "matrix", "nn", "optim", "random", "train"},
	"report": {
		"experiment", "internal/atomicfile", "internal/inputfile", "internal/usererr",
		"gonum.org/v1/plot", "gonum.org/v1/plot/*", "gonum.org/v1/plot/vg/*",
	},
	"studio": {
		"dataset", "experiment", "explain", "internal/atomicfile", "internal/inputfile", "internal/usererr", "matrix", "nn", "random", "report", "studies", "train",
		"golang.org/x/net/netutil",
	},
	"cmd/glassnet": {
		"dataset", "experiment", "explain", "internal/atomicfile", "internal/bench", "internal/inputfile", "internal/kernel", "internal/usererr",
		"matrix", "modelfile", "nn", "optim", "random", "report", "studio", "train",
		"github.com/alecthomas/kong", "github.com/vbauerster/mpb/v8", "github.com/vbauerster/mpb/v8/decor", "golang.org/x/term",
	},
}

// forbidden lists the functions that give other bits on another CPU or that draw
// from hidden state, by import path.
var forbidden = map[string][]string{
	"math": {
		"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Cbrt", "Cos", "Cosh", "Erf", "Erfc",
		"Exp", "Exp2", "Expm1", "Gamma", "Hypot", "Lgamma", "Log", "Log10", "Log1p", "Log2", "Pow",
		"Sin", "Sincos", "Sinh", "Tan", "Tanh",
	},
	"math/rand":    {"*"},
	"math/rand/v2": {"NormFloat64", "ExpFloat64", "Int", "IntN", "Uint64", "Float32", "Float64", "Perm", "Shuffle", "N"},
}

// bitExact are the packages through which numbers reach a parameter or a pixel.
var bitExact = []string{
	"internal/elementary", "internal/kernel", "internal/numpyrand", "matrix", "random",
	"nn", "optim", "dataset", "dataset/drawn", "train",
}

// sources returns the parsed non-test files of the module by package folder.
func sources(t *testing.T) map[string][]*ast.File {
	t.Helper()
	packages := map[string][]*ast.File{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// A folder with a go.mod of its own is another module.
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != root {
				return filepath.SkipDir
			}
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || base == "glassnet-out") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		packages[filepath.ToSlash(folder)] = append(packages[filepath.ToSlash(folder)], file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("found %d packages under %s, want the whole module", len(packages), root)
	}
	return packages
}

func importPath(i *ast.ImportSpec) string {
	p, _ := strconv.Unquote(i.Path.Value)
	return p
}

func TestImportsPointDownward(t *testing.T) {
	for folder, files := range sources(t) {
		allowed, known := mayImport[folder]
		if !known {
			t.Errorf("package %s has no line in mayImport", folder)
			continue
		}
		for _, file := range files {
			for _, spec := range file.Imports {
				imported := importPath(spec)
				first, _, _ := strings.Cut(imported, "/")
				if first != "glassnet" && !strings.Contains(first, ".") {
					continue // the standard library
				}
				imported = strings.TrimPrefix(imported, "glassnet/")
				if !slices.ContainsFunc(allowed, func(a string) bool { ok, _ := path.Match(a, imported); return ok }) {
					t.Errorf("%s imports %s, which mayImport does not list", folder, imported)
				}
			}
		}
	}
}

// Library packages need next to nothing beside the standard library.
func TestLibraryNeedsLittle(t *testing.T) {
	for _, folder := range append([]string{"modelfile", "nn/nntest", "internal/hugepages"}, bitExact...) {
		for _, allowed := range mayImport[folder] {
			gzip := folder == "dataset" && strings.HasPrefix(allowed, "github.com/klauspost/compress/")
			if strings.Contains(allowed, ".") && !strings.HasPrefix(allowed, "golang.org/x/sys/") && !gzip {
				t.Errorf("mayImport lets the library package %s import %s", folder, allowed)
			}
		}
	}
}

func TestNoCallsThatDifferBetweenMachines(t *testing.T) {
	packages := sources(t)
	for _, folder := range bitExact {
		if len(packages[folder]) == 0 {
			t.Errorf("no package %s", folder)
		}
		for _, file := range packages[folder] {
			names := map[string]string{} // of packages, to import path
			for _, spec := range file.Imports {
				p := importPath(spec)
				name := path.Base(p)
				if p == "math/rand/v2" {
					name = "rand"
				}
				if spec.Name != nil {
					name = spec.Name.Name
				}
				names[name] = p
			}
			ast.Inspect(file, func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := selector.X.(*ast.Ident); ok && x.Obj == nil {
					bad := forbidden[names[x.Name]]
					if slices.Contains(bad, selector.Sel.Name) || slices.Contains(bad, "*") {
						t.Errorf("%s uses %s.%s, which differs between machines or draws from hidden state", folder, names[x.Name], selector.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for folder, files := range sources(t) {
		comments := 0
		for _, file := range files {
			if file.Doc != nil {
				comments++
			}
		}
		if comments != 1 {
			t.Errorf("package %s has %d package comments, want 1", folder, comments)
		}
	}
}
