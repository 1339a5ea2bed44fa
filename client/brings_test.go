package client

import (
	"net/http"
	"slices"
	"sync"
	"testing"
)

// heard notes how urgent the requests of a device say that they are.
type heard struct {
	mu        sync.Mutex
	urgencies []string
}

// RoundTrip implements http.RoundTripper.
func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.urgencies = append(h.urgencies, r.Header.Get("Priority"))
	h.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.urgencies
	h.urgencies = nil
	return taken
}

// A request says that it brings something where it does, and only there.
func TestSaysThatItBrings(t *testing.T) {
	t.Parallel()
	o, h := newOffice(t), &heard{}
	c := o.enrol(o.clinician, t.TempDir(), func(o *Options) { o.Transport = h })
	mustSync(t, c)
	h.take()
	incident(t, c, "unsent")
	mustSync(t, c)
	if got := h.take(); !slices.Contains(got, "u=1") {
		t.Errorf("a device that brought a save asked with %q", got)
	}
	mustSync(t, c)
	if got := h.take(); len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return s != "" }) {
		t.Errorf("a device that brought nothing asked with %q", got)
	}
}
