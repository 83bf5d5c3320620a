// Package studio is glassnet's local web page: training under one's hands, and every
// number of a step of it. The page is served by the binary, for this machine only.
//
// One goroutine, the owner, trains and holds the network. Handlers send it commands
// and receive values; nothing that the owner may change is shared with them.
//
// All requests are taken for hostile: see guard. The routes are in routes.
package studio
