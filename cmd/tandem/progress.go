package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far long work has come where a terminal watches, and nothing
// otherwise. A total of 0 is unknown.
func (a *app) progress(total int, what string) (add func(n int), done func()) {
	if !a.interactive() {
		return func(int) {}, func() {}
	}
	if total == 0 {
		total = -1
	}
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
	return func(n int) { _ = bar.Add(n) }, func() { _ = bar.Finish() }
}
