// Package studies embeds the built-in study files.
package studies

import "embed"

//go:embed *.toml
var files embed.FS

// Names lists the built-in studies in the order in which a reader should meet
// them.
var Names = []string{"published", "corrected", "learning-rate", "l2-strength"}

// Read returns the text of a built-in study.
func Read(name string) ([]byte, error) { return files.ReadFile(name + ".toml") }
