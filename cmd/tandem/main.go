// Command tandem is Tandem in one binary: the server, a device, and what runs them.
// `tandem --help` lists the commands, each command's --help shows an example.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// The heap is small, tens of megabytes, and most of what is allocated lives for one
// request: collecting less often costs little memory and saves a tenth of the CPU.
const collectAt = 300

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
