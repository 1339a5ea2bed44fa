package client

import tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"

// Part2 reports whether a record is one of a substance use program under 42 CFR Part 2: what
// leaves of it bears the statement of 42 CFR 2.32.
func (v *View) Part2() bool {
	return v.rec != nil && v.Kind != nil && v.rec.Compartment(v.Kind) == tandemv1.Compartment_COMPARTMENT_SUD
}
