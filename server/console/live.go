package console

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// settle is how long a page waits after a commit before it looks again.
const settle = time.Second

// followFor is how long a page waits for news before it asks again.
const followFor = 25 * time.Second

// live answers when something has changed that the person may see, or after a while. A
// commit elsewhere is not told.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	if c.following.Add(1) > maxFollow {
		c.following.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages wait for news", http.StatusServiceUnavailable)
		return
	}
	defer c.following.Add(-1)
	v := c.visit(w, r)
	ctx, cancel := context.WithTimeout(r.Context(), followFor)
	defer cancel()
	defer context.AfterFunc(c.srv.Ending(), cancel)()
	watcher := c.store.Watch(v.who.Org.ID)
	defer watcher.Close()
	at, mark := r.URL.Query().Get("at"), ""
	for {
		var scopes []syncengine.ScopeKey
		err := c.store.ReadDesk(ctx, v.who.Org.ID, func(view store.DeskView) error {
			s, err := v.sight(view)
			if err != nil {
				return err
			}
			for k := range s.held {
				scopes = append(scopes, k)
			}
			mark, err = s.mark()
			return err
		})
		if ctx.Err() == nil && err != nil {
			v.fail(err)
			return
		}
		if err != nil || mark != at {
			break
		}
		// What goes to quarantine touches no scope: it is looked for with everything else.
		if !slices.ContainsFunc(scopes, func(k syncengine.ScopeKey) bool { return k.Owner == syncengine.OwnerTeam }) {
			watcher.Only(scopes)
		}
		if !watcher.Wait(ctx) {
			break
		}
		// A squad that syncs commits many times: they are looked at together.
		select {
		case <-time.After(settle):
		case <-ctx.Done():
		}
	}
	if mark == "" {
		// It is answered as it was asked, where that is one of ours.
		raw, err := base64.RawURLEncoding.DecodeString(at)
		if err != nil {
			raw = nil
		}
		mark = base64.RawURLEncoding.EncodeToString(raw)
	}
	w.Header().Set("Content-Type", "application/json")
	// Who has gone away gets nothing.
	//nolint:gosec // The mark is base64, whoever sent it.
	_, _ = fmt.Fprintf(w, `{"at":%q}`, mark)
}
