package server

import "github.com/tandem-response/tandem/syncengine"

// SetRules puts other rules in the place of the domain's.
func SetRules(s *Server, rules func(syncengine.Rules) syncengine.Rules) { s.rules = rules(s.rules) }

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
