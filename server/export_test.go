package server

import "github.com/tandem-response/tandem/syncengine"

// SetRules puts other rules in the place of the domain's.
func SetRules(s *Server, rules func(syncengine.Rules) syncengine.Rules) { s.rules = rules(s.rules) }
