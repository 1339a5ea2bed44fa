package main

import (
	"fmt"
	"math"
	"text/tabwriter"
)

// benchGoal is a figure of a run beside what is aimed at, on an idle machine with two
// cores, and beside what the machine can do at most.
type benchGoal struct {
	// Goal is its name, G1 to G14; What says what is measured.
	Goal string  `json:"goal"`
	What string  `json:"what"`
	Got  float64 `json:"got"`
	Aim  float64 `json:"aim"`
	// Least: the aim is the least that it should be, not the most.
	Least bool `json:"least,omitempty"`
	Met   bool `json:"met"`
	// Limit is the raw limit of this run that Got is OfLimit times of; 0 for none.
	Limit   float64 `json:"raw_limit,omitempty"`
	OfLimit float64 `json:"of_raw_limit,omitempty"`
}

// goals collects them.
type goals []benchGoal

func (g *goals) most(goal, what string, got, aim, limit float64) {
	g.add(benchGoal{Goal: goal, What: what, Got: got, Aim: aim, Met: got <= aim, Limit: limit})
}

func (g *goals) least(goal, what string, got, aim, limit float64) {
	g.add(benchGoal{Goal: goal, What: what, Got: got, Aim: aim, Met: got >= aim, Limit: limit, Least: true})
}

func (g *goals) add(one benchGoal) {
	if one.Limit > 0 {
		one.OfLimit = one.Got / one.Limit
	}
	*g = append(*g, one)
}

// editAim is what an edit of 1 % may take, ms, by the number of documents.
func editAim(records int) float64 {
	switch {
	case records <= 1_000:
		return 10
	case records <= 10_000:
		return 20
	}
	return math.Max(100, float64(records)/1_000)
}

// bootstrapAim is how many documents a second a first download may bring at least.
func bootstrapAim(records int) float64 {
	if records >= 100_000 {
		return 150_000
	}
	return 100_000
}

// goalsOf sets a run against what is aimed at. Processor time and memory of the server are
// left out where they cannot be told.
func goalsOf(r *benchResult, postgres bool) goals {
	var g goals
	push, rows, live := 25_000.0, r.Raw.SQLite, 2.0
	name := "G1"
	if postgres {
		push, rows, live, name = 15_000, r.Raw.Rows, 4, "G12"
	}
	g.least(name, "push, documents/s", r.Push.PerSecond, push, rows)
	if r.Bootstrap != nil {
		g.least("G2", "first download of what is kept, and the tail, documents/s", r.Bootstrap.PerSecond, bootstrapAim(r.Records), r.Raw.Snapshot)
	}
	g.least("G3", "pull in rows, documents/s", r.Pull.PerSecond, 30_000, r.Raw.SQLite)
	g.most("G4", "push, bytes up a document", r.Push.Up, 380, r.BodyBytes)
	g.most("G4", "pull, bytes down a document", r.Pull.Down, 380, r.BodyBytes)
	if r.Bootstrap != nil {
		g.most("G4", "first download of what is kept, bytes down a document", r.Chunked.Down, 430, r.BodyBytes)
	}
	g.most("G4", "settle, bytes a document", r.Settle.Up+r.Settle.Down, 10, 0)
	g.most("G5", "edit of 1 %, ms", r.Edit.MS, editAim(r.Records), r.Raw.Append600P50)
	g.most("G6", "edit, bytes without proof", r.Edit.Net, 120, 0)
	g.most("G7", "live p50, ms", r.Live.P50, live, r.Raw.Append4P50)
	g.most("G7", "live p99, ms", r.Live.P99, 5, r.Raw.Append4P99)
	g.most("G7", "live, bytes without proof", r.Live.Net, 1_000, r.BodyBytes)
	if f := r.FanIn; f != nil {
		g.most("G8", fmt.Sprintf("fan-in of %d, ms", f.Crews), f.MS, 600, float64(f.Documents)/rows*1_000)
		g.most("G8", "fan-in, a device's p99, ms", f.P99, 600, 0)
		g.most("G8", "fan-in, times refused", float64(f.Errors), 0, 0)
	}
	g.most("G9", "no-op, ms", r.NoOp.MS, 0.5, r.Raw.Append4P50)
	g.most("G9", "no-op, bytes", r.NoOp.Bytes, 600, 0)
	g.most("G9", "no-op, bytes without proof", r.NoOp.Net, 200, 0)
	if r.Push.ServerCPU > 0 {
		g.most("G10", "push, server's CPU µs a document", r.Push.ServerCPU, 35, 0)
		g.most("G10", "pull, server's CPU µs a document", r.Pull.ServerCPU, 20, 0)
		if r.Bootstrap != nil {
			g.most("G10", "first download of what is kept, server's CPU µs a document", r.Chunked.ServerCPU, 5, 0)
		}
	}
	if r.Push.ServerPeak > 0 {
		g.most("G11", "server's peak MB in push and pull", max(r.Push.ServerPeak, r.Pull.ServerPeak), 80, 0)
		if r.FanIn != nil {
			g.most("G11", "server's peak MB in fan-in", r.FanIn.ServerPeak, 120, 0)
		}
	}
	if r.ServerDisk > 0 {
		g.most("G14", "disk at the server, bytes a document", r.ServerDisk, 1_200, r.BodyBytes)
	}
	g.most("G14", "disk of a device, bytes a document", r.DeviceDisk, 1_200, r.BodyBytes)
	return g
}

// growthGoals are what is aimed at between two sizes.
func growthGoals(runs []benchResult) goals {
	if len(runs) < 2 {
		return nil
	}
	small, large := &runs[len(runs)-2], &runs[len(runs)-1]
	var g goals
	g.least("G13", "rate of push, of that of the size before", large.Push.PerSecond/small.Push.PerSecond, 0.9, 0)
	g.least("G13", "rate of pull, of that of the size before", large.Pull.PerSecond/small.Pull.PerSecond, 0.9, 0)
	g.most("G13", "an edit, of that of the size before", large.Edit.MS/float64(large.Edit.Documents)/(small.Edit.MS/float64(small.Edit.Documents)), 1.2, 0)
	g.most("G13", "live p50, of that of the size before", large.Live.P50/small.Live.P50, 1.2, 0)
	g.most("G13", "no-op, of that of the size before", large.NoOp.MS/small.NoOp.MS, 1.2, 0)
	return g
}

// table prints them side by side with the raw limits.
func (g goals) table(a *app) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "goal\twhat\tgot\taim\tmet\traw limit\tof raw")
	for _, one := range g {
		sign, met, limit, of := "≤", "no", "", ""
		if one.Least {
			sign = "≥"
		}
		if one.Met {
			met = "yes"
		}
		if one.Limit > 0 {
			limit, of = figure(one.Limit), fmt.Sprintf("%.2f", one.OfLimit)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s %s\t%s\t%s\t%s\n", one.Goal, one.What, figure(one.Got), sign, figure(one.Aim), met, limit, of)
	}
	return w.Flush()
}

// figure writes small numbers with their decimals.
func figure(v float64) string {
	if v == math.Trunc(v) || v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
