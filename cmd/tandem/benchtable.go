package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// benchGrowth compares what a document costs at the largest size with what it costs at
// the smallest: 1 is linear.
type benchGrowth struct {
	From int     `json:"from"`
	To   int     `json:"to"`
	Save float64 `json:"save"`
	Push float64 `json:"push"`
	Pull float64 `json:"pull"`
	Edit float64 `json:"edit"`
	Live float64 `json:"live_p50"`
	NoOp float64 `json:"no_op"`
	// PushCPU and PullCPU are the same in processor time, which others on the machine
	// disturb less.
	PushCPU float64 `json:"push_cpu,omitempty"`
	PullCPU float64 `json:"pull_cpu,omitempty"`
	EditCPU float64 `json:"edit_cpu,omitempty"`
}

// growthAim is how much more a document may cost.
const growthAim = 1.3

// growthOf compares the runs, nil where there is one size.
func growthOf(runs []benchResult) *benchGrowth {
	if len(runs) < 2 {
		return nil
	}
	small, large := &runs[0], &runs[len(runs)-1]
	each := func(s *benchStep) float64 { return s.MS / float64(s.Documents) }
	ratio := func(large, small float64) float64 {
		if small == 0 {
			return 0
		}
		return large / small
	}
	return &benchGrowth{
		From: small.Records, To: large.Records,
		Save: ratio(each(&large.Save), each(&small.Save)), Push: ratio(each(&large.Push), each(&small.Push)),
		Pull: ratio(each(&large.Pull), each(&small.Pull)), Edit: ratio(each(&large.Edit), each(&small.Edit)),
		Live: ratio(large.Live.P50, small.Live.P50), NoOp: ratio(large.NoOp.MS, small.NoOp.MS),
		PushCPU: ratio(large.Push.CPU, small.Push.CPU), PullCPU: ratio(large.Pull.CPU, small.Pull.CPU),
		EditCPU: ratio(large.Edit.CPU, small.Edit.CPU),
	}
}

func (b *bench) ratios() {
	raw := &b.res.Raw
	for _, s := range []*benchStep{&b.res.Save, &b.res.Push, &b.res.Pull} {
		s.OfRaw = s.PerSecond / raw.SQLite
	}
	for _, s := range []*benchStep{b.res.Making, b.res.Chunked} {
		if s != nil {
			s.OfRaw = s.PerSecond / raw.SQLite
		}
	}
	if b.res.FanIn != nil {
		b.res.FanIn.OfRaw = b.res.FanIn.PerSecond / raw.SQLite
	}
	if raw.Rows > 0 {
		b.res.Push.OfPostgres = b.res.Push.PerSecond / raw.Rows
	}
	b.res.Goals = goalsOf(b.res, b.database != "")
}

// table prints a run for people, beside what is aimed at.
func (b *bench) table() error {
	r := b.res
	a := b.a
	a.say("%d documents of %.0f bytes, %d devices.", r.Records, r.BodyBytes, r.Devices)
	a.say("Raw limits of this run: SQLite insert %.0f documents/s, snapshot %.0f%s; append and sync 4 KiB %.2f ms (p99 %.2f), 600 KiB %.2f ms (p99 %.2f).",
		r.Raw.SQLite, r.Raw.Snapshot, r.Raw.postgres(), r.Raw.Append4P50, r.Raw.Append4P99, r.Raw.Append600P50, r.Raw.Append600P99)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tms\tdocs/s\tof raw\tCPU µs/doc\tserver's\tpeak MB\tup B/doc\tdown B/doc\tno proof\trequests\tbusy elsewhere\taim")
	row(w, "save", &r.Save, "")
	row(w, "push", &r.Push, "of raw ≥ 0.36, server's ≤ 35, up ≤ 380 B")
	row(w, "settle", &r.Settle, "no body comes back")
	row(w, "pull", &r.Pull, "of raw ≥ 0.47, server's ≤ 20, down ≤ 380 B")
	if r.Making != nil && r.Chunked != nil {
		row(w, "pull, chunks made", r.Making, "")
		row(w, "pull, chunks", r.Chunked, "server's ≤ 5, down ≤ 430 B")
	}
	row(w, "edit 1 %", &r.Edit, "no proof ≤ 120 B, both legs")
	if r.Bootstrap != nil {
		row(w, "bootstrap", r.Bootstrap, "kept chunks, then the edits")
	}
	row(w, "live", &r.Live.benchStep, "")
	if r.FanIn != nil {
		row(w, "fan-in", &r.FanIn.benchStep, "of raw ≥ 0.25, peak ≤ 120 MB")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	a.say("live: p50 %.1f ms, p99 %.1f ms, %.0f B a document, %.0f without proof headers (aim: 2 ms, 5 ms, 1,000 B without).", r.Live.P50, r.Live.P99, r.Live.Bytes, r.Live.Net)
	if f := r.FanIn; f != nil {
		a.say("fan-in: %d devices, %d documents, durable after %.0f ms; a device's p50 %.0f ms, p99 %.0f ms; refused %d times (aim: 600 ms, never).",
			f.Crews, f.Documents, f.MS, f.P50, f.P99, f.Errors)
	}
	a.say("no-op: %.2f ms, %.0f B, %.0f without proof headers of %.0f B a request (aim: 0.5 ms, 600 B, 200 B).", r.NoOp.MS, r.NoOp.Bytes, r.NoOp.Net, r.Proof)
	a.say("disk: %.0f B a document at the server, %.0f on a device and %.0f in its sealed outbox (aim: 1,200 on either end).", r.ServerDisk, r.DeviceDisk, r.SealedDisk)
	if p := &r.Push; p.DatabaseCPU > 0 {
		a.say("PostgreSQL: %.0f µs of CPU a document pushed, %.0f MB.", p.DatabaseCPU, p.DatabaseMB)
	}
	a.say("")
	err := r.Goals.table(a)
	a.say("")
	return err
}

// postgres says what PostgreSQL can do, nothing where there is none.
func (r *benchRaw) postgres() string {
	if r.Rows == 0 {
		return ""
	}
	return fmt.Sprintf(", PostgreSQL COPY %.0f, rows %.0f", r.Copy, r.Rows)
}

func row(w io.Writer, name string, s *benchStep, aim string) {
	ofRaw := ""
	if s.OfRaw > 0 {
		ofRaw = fmt.Sprintf("%.2f", s.OfRaw)
	}
	fmt.Fprintf(w, "%s\t%.1f\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%.2f\t%s\n",
		name, s.MS, s.PerSecond, ofRaw, s.CPU, s.ServerCPU, s.ServerPeak, s.Up, s.Down, s.Net, s.Requests, s.Elsewhere, aim)
}

// end says how cost grows with size.
func (r *benchReport) end(a *app) error {
	g := r.Growth
	if g == nil {
		return nil
	}
	var parts []string
	for _, p := range []struct {
		name  string
		ratio float64
	}{
		{"save", g.Save},
		{"push", g.Push},
		{"push CPU", g.PushCPU},
		{"pull", g.Pull},
		{"pull CPU", g.PullCPU},
		{"edit", g.Edit},
		{"edit CPU", g.EditCPU},
		{"live p50", g.Live},
		{"no-op", g.NoOp},
	} {
		parts = append(parts, fmt.Sprintf("%s %.2f", p.name, p.ratio))
	}
	a.say("A document at %d costs, as a multiple of one at %d (1 is linear, aim ≤ %.1f): %s.", g.To, g.From, growthAim, strings.Join(parts, ", "))
	return r.Between.table(a)
}
