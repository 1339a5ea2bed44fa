package vault

import (
	"errors"
	"fmt"
	"os"
)

// mostFaults is how many faults Check tells of.
const mostFaults = 100

// Check reads every page of the database and says in words what is not as it was
// written: a page that was changed, moved or emptied, and one that is an older version
// of itself, which nothing but the sum of all can tell. Nobody may be writing.
func (v *FS) Check() (faults []string, err error) {
	fault := func(format string, args ...any) {
		if len(faults) < mostFaults {
			faults = append(faults, fmt.Sprintf("vault: "+format, args...))
		}
	}
	f, err := v.base.OpenFile(v.name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if err := v.pages.load(v, f); err != nil {
		return nil, err
	}
	v.pages.mu.Lock()
	defer v.pages.mu.Unlock()
	h := head{kind: kindPageSlot}
	if err := h.read(v.seal, f); err != nil {
		return nil, err
	}
	if v.pages.recount || v.pages.torn {
		return nil, errors.New("checking the vault: the log has not been written back")
	}
	if h.spoiled > 0 {
		fault("the head of the database is damaged")
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	total, buf := sum{}, make([]byte, sealedPage)
	for n := range pagesIn(size) {
		if _, err := f.ReadAt(buf, pageAt(n)); err != nil {
			return nil, err
		}
		total = total.with(v.seal.term(n, buf[PageSize:]))
		if _, err := v.seal.open(buf, kindPage, n); errors.Is(err, errSeal) {
			fault("page %d is not what was written there", n+1)
		} else if err != nil {
			return nil, err
		}
	}
	if rest := (size - headSize) % sealedPage; size > headSize && rest != 0 {
		fault("the database ends within a page")
	}
	if total != v.pages.sum || pagesIn(size) != v.pages.pages {
		fault("some pages are older than the others")
	}
	if e := v.fault.Load(); e != nil {
		fault("%s", e.What)
	}
	return faults, nil
}
