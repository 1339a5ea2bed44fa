package client

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Estimate is what waits to be sent and about how long that takes, in the order in
// which it is sent. Empty where nothing waits.
type Estimate []Waiting

// Waiting is what waits of one class.
type Waiting struct {
	// Class is urgent, normal or bulk.
	Class tandemv1.Class
	// Saves is their number; of the urgent ones, Kinds counts by the name of the kind
	// that each is about.
	Saves int
	Kinds map[string]int
	// Bytes is about what it weighs on the wire, with what urgent saves need of
	// others.
	Bytes int64
	// Takes is about how long it takes from now, or from the signal's return, until
	// the server has it; 0 while nothing is known of the link.
	Takes time.Duration
}

// telling is what a save is about, the kind that says most first.
var telling = []string{"referral", "safety_alert", "encounter", "note", "person", "incident"}

// setUp is how many round trips pass before the first request can be sent: the
// connection, its encryption and the greeting.
const setUp = 3

// Estimate estimates what waits to be sent.
func (c *Client) Estimate(ctx context.Context) (Estimate, error) {
	c.mu.Lock()
	link := c.pace
	c.mu.Unlock()
	var e Estimate
	err := c.store.read(ctx, "estimating what waits", func(rtx *sql.Tx) error {
		var sums []waiting
		rows, err := rtx.QueryContext(ctx, `SELECT rank, count(*), sum(bytes) FROM outbox INDEXED BY outbox_queue WHERE state = 1 AND state IN (1, 7) GROUP BY rank ORDER BY rank`)
		if err != nil {
			return err
		}
		err = eachRow(rows, func(scan func(...any) error) error {
			var w waiting
			err := scan(&w.rank, &w.saves, &w.bytes)
			sums = append(sums, w)
			return err
		})
		if err != nil {
			return err
		}
		needed := map[int64]waiting{}
		for _, w := range sums {
			part := Waiting{Class: classOf(w.rank)}
			if part.Class == tandemv1.Class_CLASS_URGENT {
				if needed, err = c.urgent(ctx, rtx, &part); err != nil {
					return err
				}
				for _, n := range needed {
					w.bytes += n.bytes
				}
			} else if n := needed[w.rank]; n.saves > 0 {
				// Those travel with what is urgent.
				w.saves, w.bytes = w.saves-n.saves, w.bytes-n.bytes
			}
			if part.Saves = w.saves; w.saves <= 0 {
				continue
			}
			part.Bytes, part.Takes = link.wire(w.bytes), link.eta(w.bytes)
			switch {
			case part.Takes == 0:
			case len(e) == 0:
				part.Takes += setUp * link.rtt
			default:
				part.Takes += e[len(e)-1].Takes
			}
			e = append(e, part)
		}
		return nil
	})
	return e, err
}

type waiting struct {
	rank  int64
	saves int
	bytes int64
}

// classOf is the class that a rank in the queue stands for.
func classOf(rank int64) tandemv1.Class {
	switch rank {
	case rankOf(tandemv1.Class_CLASS_URGENT):
		return tandemv1.Class_CLASS_URGENT
	case rankOf(tandemv1.Class_CLASS_BULK):
		return tandemv1.Class_CLASS_BULK
	}
	return tandemv1.Class_CLASS_NORMAL
}

// urgent counts the kinds of urgent saves, and what they need of others, by rank.
func (c *Client) urgent(ctx context.Context, rtx *sql.Tx, part *Waiting) (needed map[int64]waiting, err error) {
	part.Kinds, needed = map[string]int{}, map[int64]waiting{}
	kinds := map[syncengine.ID]string{}
	seen := map[uint64]bool{}
	var open []uint64
	rows, err := rtx.QueryContext(ctx, `SELECT op, records, needs FROM outbox INDEXED BY outbox_queue WHERE state = 1 AND state IN (1, 7) AND rank = 1 ORDER BY op`)
	if err != nil {
		return nil, err
	}
	var about [][]syncengine.ID
	err = eachRow(rows, func(scan func(...any) error) error {
		var op uint64
		var records, needs []byte
		if err := scan(&op, &records, &needs); err != nil {
			return err
		}
		seen[op] = true
		open = append(open, decodeOps(needs)...)
		ids := decodeIDs(records)
		about = append(about, ids)
		for _, id := range ids {
			kinds[id] = ""
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for id := range kinds {
		var number uint32
		err := rtx.QueryRowContext(ctx, `SELECT kind FROM rec WHERE id = $1`, id[:]).Scan(&number)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if k := c.domain.Kind(number); k != nil {
			kinds[id] = k.Name
		}
	}
	for _, ids := range about {
		part.Kinds[mostTelling(ids, kinds)]++
	}
	for len(open) > 0 {
		op := open[len(open)-1]
		open = open[:len(open)-1]
		if seen[op] {
			continue
		}
		seen[op] = true
		var rank, size int64
		var needs []byte
		err := rtx.QueryRowContext(ctx, `SELECT rank, bytes, needs FROM outbox WHERE op = $1 AND state = 1`, int64(op)).Scan(&rank, &size, &needs)
		if errors.Is(err, sql.ErrNoRows) {
			// It has been sent.
			continue
		}
		if err != nil {
			return nil, err
		}
		n := needed[rank]
		needed[rank] = waiting{saves: n.saves + 1, bytes: n.bytes + size}
		open = append(open, decodeOps(needs)...)
	}
	return needed, nil
}

// mostTelling is the kind that a save is about.
func mostTelling(ids []syncengine.ID, kinds map[syncengine.ID]string) string {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, kinds[id])
	}
	for _, name := range telling {
		if slices.Contains(names, name) {
			return name
		}
	}
	return names[0]
}

// String says it in English, for example "1 urgent referral, 1.6 KB, about 4 s; 12
// other saves, 24 KB, about 40 s". Empty where nothing waits.
func (e Estimate) String() string {
	words := make([]string, 0, len(e))
	for i, w := range e {
		text := fmt.Sprintf("%s, %s", w.what(i > 0), kilobytes(w.Bytes))
		if w.Takes > 0 {
			text += ", about " + lasting(w.Takes)
		}
		words = append(words, text)
	}
	return strings.Join(words, "; ")
}

// what says what waits; others says that something was named before.
func (w *Waiting) what(others bool) string {
	saves := "saves"
	if w.Saves == 1 {
		saves = "save"
	}
	switch {
	case w.Class == tandemv1.Class_CLASS_BULK:
		return fmt.Sprintf("%d imported %s", w.Saves, saves)
	case w.Class != tandemv1.Class_CLASS_URGENT && others:
		return fmt.Sprintf("%d other %s", w.Saves, saves)
	case w.Class != tandemv1.Class_CLASS_URGENT:
		return fmt.Sprintf("%d %s", w.Saves, saves)
	}
	kinds := make([]string, 0, len(w.Kinds))
	for kind, n := range w.Kinds {
		kind = cmp.Or(strings.ReplaceAll(kind, "_", " "), "save")
		if w.Saves == 1 {
			return "1 urgent " + kind
		}
		kinds = append(kinds, fmt.Sprintf("%s: %d", kind, n))
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d urgent %s (%s)", w.Saves, saves, strings.Join(kinds, ", "))
}

// kilobytes is a size in words, in units of 1000 bytes.
func kilobytes(n int64) string {
	switch {
	case n < 100:
		return "under 0.1 KB"
	case n < 9_950:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	case n < 999_500:
		return fmt.Sprintf("%.0f KB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// lasting is a time in words.
func lasting(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", max(int64((d+time.Second/2)/time.Second), 1))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", (d+time.Minute/2)/time.Minute)
	}
	return fmt.Sprintf("%d h", (d+time.Hour/2)/time.Hour)
}
