package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// prefs are what the app keeps for the device: nothing that a person said.
type prefs struct {
	mu sync.Mutex
	// lang and theme are empty for what the browser asks for, and the hour.
	lang, theme string
	shift       shift
}

// shift is the one under way, or the last.
type shift struct {
	Unit   string   `json:"unit"`
	Crew   []string `json:"crew"`
	Mode   string   `json:"mode"`
	Source string   `json:"source"`
	// Team is whose work it is, where who works here is in several.
	Team string `json:"team"`
	// Police: the crew has a police partner.
	Police bool `json:"police"`
	// BeganMS is 0 where none is under way.
	BeganMS int64 `json:"began_ms"`
	// Day and Calls number the calls of a day.
	Day   string `json:"day"`
	Calls int    `json:"calls"`
}

func (p *prefs) load(ctx context.Context, dev *client.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	read := func(key string) []byte {
		// A setting that cannot be read is one that was not made.
		b, _ := dev.Setting(ctx, key)
		return b
	}
	if b := read("lang"); b != nil {
		p.lang = string(b)
	}
	if b := read("theme"); b != nil {
		p.theme = string(b)
	}
	_ = json.Unmarshal(read("shift"), &p.shift)
	p.shift.work(dev)
}

// language is that of the pages.
func (p *prefs) language(r *http.Request) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lang != "" {
		return p.lang
	}
	return web.Language(r.Header.Get("Accept-Language"))
}

// shown is the theme at a time: dark from seven in the evening until seven.
func (p *prefs) shown(at time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.theme != "":
		return p.theme
	case at.Hour() >= 19 || at.Hour() < 7:
		return "dark"
	}
	return "light"
}

func (p *prefs) current() shift {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shift
}

// work has what is made from now on belong to the team of the shift: the first, where nobody
// has chosen.
func (s *shift) work(dev *client.Client) {
	me, err := dev.Session()
	if err != nil || len(me.Teams) < 2 {
		return
	}
	id, err := syncengine.ParseID(s.Team)
	if err != nil || !slices.Contains(me.Teams, id) {
		id = me.Teams[0]
		s.Team = id.String()
	}
	dev.WorkFor(id)
}

func (v *visit) setShift(s shift) error {
	s.work(v.dev)
	v.a.prefs.mu.Lock()
	v.a.prefs.shift = s
	v.a.prefs.mu.Unlock()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return v.dev.SetSetting(v.ctx(), "shift", b)
}

// switchLang changes the language, also on the lock screen.
func (v *visit) switchLang() error {
	lang := "es"
	if v.lang == "es" {
		lang = "en"
	}
	v.a.prefs.mu.Lock()
	v.a.prefs.lang = lang
	v.a.prefs.mu.Unlock()
	if v.dev != nil {
		if err := v.dev.SetSetting(v.ctx(), "lang", []byte(lang)); err != nil {
			return err
		}
	}
	to := v.r.PostFormValue("to")
	if strings.Contains(to, ":") || strings.HasPrefix(to, "/") {
		to = "today"
	}
	return v.to(to)
}

func (v *visit) setTheme() error {
	theme := v.r.PostFormValue("theme")
	switch theme {
	case "", "dark", "light", "red":
	default:
		return client.ErrNotFound
	}
	v.a.prefs.mu.Lock()
	v.a.prefs.theme = theme
	v.a.prefs.mu.Unlock()
	if err := v.dev.SetSetting(v.ctx(), "theme", []byte(theme)); err != nil {
		return err
	}
	return v.to("settings")
}
