package syncengine

import "slices"

// maxSealings bounds how many writes of a lifecycle are read back; of a record with more
// nothing is said to have come before.
const maxSealings = 64

// earlier implements [Earlier]. Stamps are chosen by devices, so what is found under one
// counts only where it wrote what stands there.
func (b *Batch) earlier(rec *Record, at Path, sealed *Record) (bool, error) {
	s, err := Decode(rec)
	if err != nil {
		return false, err
	}
	p := s.at(at)
	if p == nil || p.Shown() == nil {
		return false, nil
	}
	c, writes, err := b.wrote(rec.ID, at, p.held())
	if err != nil || c == nil {
		return false, err
	}
	if !slices.ContainsFunc(writes, func(w Write) bool { return sameValue(w.Raw, p.Shown()) }) {
		return false, nil
	}
	first, err := b.sealedAt(sealed)
	return c.Seq < first, err
}

// sealedAt returns the sequence at which a record was first sealed, zero where the log does
// not tell. Each accepted write of its lifecycle is a head or, through bases, under one: the
// heads alone would tell of the newest amendment only.
func (b *Batch) sealedAt(rec *Record) (first uint64, err error) {
	kind := b.srv.Rules.Kind(rec.Kind)
	s, err := Decode(rec)
	if err != nil {
		return 0, err
	}
	at := Path{Field: FieldLifecycle}
	p := s.at(at)
	if p == nil || kind == nil {
		return 0, nil
	}
	var open []Stamp
	for _, h := range p.Heads {
		open = append(open, h.Stamp)
	}
	for next := 0; next < len(open); next++ {
		c, writes, err := b.wrote(rec.ID, at, open[next])
		if err != nil || c == nil || len(open) > maxSealings {
			return 0, err
		}
		for _, w := range writes {
			if code, _ := RawString(w.Raw); kind.Sealed[code] && (first == 0 || c.Seq < first) {
				first = c.Seq
			}
			for _, base := range w.Bases {
				if base != 0 && !slices.Contains(open, base) {
					open = append(open, base)
				}
			}
		}
	}
	return first, nil
}

// wrote returns the applied change of a stamp and what it wrote at a path of a record; nil
// where it wrote nothing there.
func (b *Batch) wrote(record ID, at Path, stamp Stamp) (*StoredChange, []Write, error) {
	c, err := b.tx.ChangeByStamp(stamp)
	if err != nil || c == nil || !isApplied(c.Outcome) {
		return nil, nil, err
	}
	writes := writesIn(c.Body, record, at)
	if len(writes) == 0 {
		return nil, nil, nil
	}
	return c, writes, nil
}
