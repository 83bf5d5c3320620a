// Command glassnet trains, compares and explains small neural networks written
// from scratch.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
