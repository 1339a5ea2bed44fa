package web

import "html/template"

// icons are paths on a square of 24, drawn with a line of 2.
var icons = map[string]string{
	"today":    `<path d="M4 6h16v14H4zM4 10h16M8 3v4M16 3v4"/>`,
	"call":     `<path d="M5 19V9l7-5 7 5v10M9 19v-6h6v6"/>`,
	"plus":     `<path d="M12 5v14M5 12h14"/>`,
	"people":   `<circle cx="12" cy="8" r="4"/><path d="M4 21c1-5 4-7 8-7s7 2 8 7"/>`,
	"tray":     `<path d="M4 13l3-8h10l3 8v6H4zM4 13h5l1 3h4l1-3h5"/>`,
	"more":     `<circle cx="12" cy="12" r="3"/><path d="M12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M5.6 18.4l2.2-2.2M16.2 7.8l2.2-2.2"/>`,
	"lock":     `<path d="M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3"/>`,
	"search":   `<circle cx="11" cy="11" r="6"/><path d="M16 16l5 5"/>`,
	"check":    `<path d="M4 12l5 6L20 6"/>`,
	"edit":     `<path d="M4 20l1-5L16 4l4 4L9 19z"/>`,
	"undo":     `<path d="M9 6l-5 5 5 5M4 11h11a5 5 0 0 1 0 10h-3"/>`,
	"alert":    `<path d="M12 3l10 18H2zM12 10v5M12 18v.5"/>`,
	"note":     `<path d="M5 3h10l4 4v14H5zM9 12h6M9 16h6"/>`,
	"referral": `<path d="M4 12h14M12 6l6 6-6 6"/>`,
	"back":     `<path d="M15 5l-7 7 7 7"/>`,
	"clock":    `<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>`,
	"night":    `<path d="M20 14A8 8 0 1 1 10 4a7 7 0 0 0 10 10z"/>`,
	"phone":    `<path d="M6 3h4l2 5-3 2a12 12 0 0 0 5 5l2-3 5 2v4c-9 3-18-6-15-15z"/>`,
	"form":     `<path d="M5 3h14v18H5zM9 8l1.5 1.5L13 7M9 14l1.5 1.5L13 13M15 9h2M15 15h2"/>`,
	"photo":    `<path d="M3 7h4l2-3h6l2 3h4v13H3z"/><circle cx="12" cy="13" r="4"/>`,
	"book":     `<path d="M5 4h6v16H5zM13 4h6v16h-6M8 8h1M15 8h2M15 12h2"/>`,
	"export":   `<path d="M12 15V4M8 8l4-4 4 4M5 14v6h14v-6"/>`,
	"print":    `<path d="M7 9V3h10v6M7 17H4V9h16v8h-3M7 14h10v7H7z"/>`,
}

// Icon draws an icon. It says nothing to who listens: words stand beside it.
func Icon(name string) template.HTML {
	//nolint:gosec // The drawing is this file's.
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">` + icons[name] + `</svg>`)
}

// Pair draws the sign of the two bars: how far something has come. here: this device has
// it; sent: the server has it; verified: both were proved the same; needs: a person has
// to look.
func Pair(state string) template.HTML {
	right, extra := `class="hollow"`, ""
	switch state {
	case "sent":
		right = `class="full"`
	case "verified":
		right, extra = `class="full"`, `<path class="rail" d="M7 12h10"/>`
	case "needs":
		right, extra = `class="hollow"`, `<path class="mark" d="M12 3v11M12 18v3"/>`
	case "typing":
		return `<svg class="pair" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><rect class="hollow" x="3" y="4" width="5" height="16" rx="1"/><rect class="hollow" x="16" y="4" width="5" height="16" rx="1"/></svg>`
	}
	//nolint:gosec // The drawing is this file's.
	return template.HTML(`<svg class="pair" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><rect class="full" x="3" y="4" width="5" height="16" rx="1"/><rect ` +
		right + ` x="16" y="4" width="5" height="16" rx="1"/>` + extra + `</svg>`)
}
