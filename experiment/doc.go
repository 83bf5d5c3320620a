// Package experiment runs studies: a study (a question, one TOML file) names
// experiments to compare (one configuration each), and each experiment is run
// once per seed. It leaves a folder of result files, of which package report
// makes the report.
package experiment
