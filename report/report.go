// Package report turns finished studies into something to read: a page, its
// Markdown twin, plots and tables. All of it is a pure function of the result
// files: the same files give the same bytes.
package report

// Write reads the finished studies in dirs and writes report.html, report.md and
// the folder plots (each plot as SVG and PNG) into the folder out. Each of dirs
// holds results.json, and for each run a history.csv, an evaluation.json and, for
// the published normalisation, an evidence.json. Studies that replay the
// published table come first, others keep their order.
//
// Errors name the file and the place; those of missing or wrong files are user
// errors.
func Write(out string, dirs []string) error { return nil }
