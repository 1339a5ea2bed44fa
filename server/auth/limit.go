package auth

import (
	"time"

	"golang.org/x/time/rate"
)

// Guesses bounds how fast a process lets codes be guessed: after a burst, one wrong
// code a second. At that rate a code of 60 bits withstands its life many times over.
// Safe for concurrent use.
type Guesses struct {
	limit *rate.Limiter
	now   func() time.Time
}

// burst is how many wrong codes are let through at once.
const burst = 20

// NewGuesses returns a bound that reads the time from clock; nil is the system's.
func NewGuesses(clock func() time.Time) *Guesses {
	if clock == nil {
		clock = time.Now
	}
	return &Guesses{limit: rate.NewLimiter(rate.Every(time.Second), burst), now: clock}
}

// Allowed reports whether another code may be tried now.
func (g *Guesses) Allowed() bool { return g.limit.TokensAt(g.now()) >= 1 }

// Wrong notes that a code was wrong.
func (g *Guesses) Wrong() { g.limit.AllowN(g.now(), 1) }
