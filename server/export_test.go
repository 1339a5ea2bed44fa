package server

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/tandem-response/tandem/syncengine"
)

// SetRules puts other rules in the place of the domain's.
func SetRules(s *Server, rules func(syncengine.Rules) syncengine.Rules) { s.rules = rules(s.rules) }

// JoinJournal does once what KeepJournal does now and then.
func (s *Server) JoinJournal(ctx context.Context) error { return s.joinJournal(ctx) }

// MaxInflated is the bound of a request, inflated.
const MaxInflated = maxInflated

// Inflaters are the decompressors of requests, by the name of the encoding.
func Inflaters() map[string]func() connect.Decompressor {
	return map[string]func() connect.Decompressor{
		"gzip": func() connect.Decompressor { return &inflater{reset: resetGzip()} }, "zstd": newZstdInflater,
	}
}

// AheadOf waits for the page that is being read ahead for a replica and reports
// whether there is one.
func AheadOf(s *Server, replica syncengine.ID) bool {
	s.ahead.mu.Lock()
	p := s.ahead.pages[replica]
	s.ahead.mu.Unlock()
	if p == nil {
		return false
	}
	<-p.done
	return p.answer != nil
}

// SetBodyGrace sets how long a body has beside its bytes.
func SetBodyGrace(s *Server, d time.Duration) { s.admission.grace = d }

// SetOwnHeld sets how long a waiting request is kept that has only its own device's
// changes to tell of.
func SetOwnHeld(s *Server, d time.Duration) { s.ownHeld = d }

// Under is how many requests are open, wait for their turn and are worked on, and the
// bytes set aside for them.
func Under(s *Server) (open, waiting, working int, bytes int64) {
	l := s.admission.load()
	return l.open, l.waiting, l.working, l.bodies + l.work
}

// ProbeAnew lets the next who asks whether the server is ready find out anew.
func ProbeAnew(s *Server) {
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	s.probe.at = time.Time{}
}

// Rewrite makes all chunks that a server keeps those of commits that are lost, and returns
// how many of them are kept still.
func Rewrite(s *Server) (kept func() int) {
	s.chunks.mu.Lock()
	defer s.chunks.mu.Unlock()
	lost := map[*syncengine.Chunk]bool{}
	for _, some := range s.chunks.scopes {
		for _, k := range some {
			k.Commit[0] ^= 1
			lost[k.Chunk] = true
		}
	}
	return func() (n int) {
		s.chunks.mu.Lock()
		defer s.chunks.mu.Unlock()
		for _, some := range s.chunks.scopes {
			for _, k := range some {
				if lost[k.Chunk] {
					n++
				}
			}
		}
		return n
	}
}

// Rehome does what a server does once before it answers.
func Rehome(ctx context.Context, s *Server) error { return s.rehome(ctx) }

// HoldJudging lets no file be judged until it is let go.
func HoldJudging(s *Server) (release func()) {
	for range maxJudged {
		s.judging <- struct{}{}
	}
	return func() {
		for range maxJudged {
			<-s.judging
		}
	}
}
