package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/syncengine/record"
)

var dimNames = map[string]Text{
	byRace: {"Race and ethnicity", "Raza y etnia"}, byAge: {"Age", "Edad"}, byGender: {"Gender", "Género"}, byLang: {"Language", "Idioma"},
	byHousing: {"Housing", "Vivienda"}, byZIP: {"ZIP code", "Código postal"}, byBeat: {"Beat", "Sector policial"}, byHour: {"Hour of the day", "Hora del día"},
	byModel: {"Model of program", "Modelo de programa"}, byMode: {"Response", "Tipo de respuesta"},
}

var languageNames = map[string]Text{
	"en": {"English", "Inglés"}, "es": {"Spanish", "Español"}, "fr": {"French", "Francés"}, "zh": {"Chinese", "Chino"}, "vi": {"Vietnamese", "Vietnamita"},
	"ar": {"Arabic", "Árabe"}, "ko": {"Korean", "Coreano"}, "pl": {"Polish", "Polaco"}, "ru": {"Russian", "Ruso"}, "tl": {"Tagalog", "Tagalo"},
	"uk": {"Ukrainian", "Ucraniano"}, "ht": {"Haitian Creole", "Criollo haitiano"}, "pt": {"Portuguese", "Portugués"}, "so": {"Somali", "Somalí"},
	"ase": {"American Sign Language", "Lengua de señas americana"},
}

// dimText is the name of a breakdown.
func dimText(dim string) Text {
	if t, ok := dimNames[dim]; ok {
		return t
	}
	return Text{dim, dim}
}

// GroupText is the name of a group of a breakdown.
func GroupText(dim, code string) Text {
	switch code {
	case groupUnknown, record.NotRecorded:
		return Text{"Not known", "Se desconoce"}
	case groupSeveral:
		return Text{"Two or more", "Dos o más"}
	}
	if list := groupList(dim); list != "" {
		domain := record.New()
		return Text{domain.Label(list, code, "en"), domain.Label(list, code, "es")}
	}
	if dim == byLang {
		if t, ok := languageNames[code]; ok {
			return t
		}
	}
	if dim == byHour {
		from, to, _ := strings.Cut(code, "-")
		return Text{from + ":00 to " + to + ":59", "de " + from + ":00 a " + to + ":59"}
	}
	if dim == byAge {
		return Text{strings.ReplaceAll(code, "-", "–"), strings.ReplaceAll(code, "-", "–")}
	}
	return Text{code, code}
}

// number writes a number as a language does.
func number(v float64, lang string) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	whole, rest, broken := strings.Cut(text, ".")
	if len(whole) > 4 || len(whole) == 4 && lang == "en" {
		var b strings.Builder
		for i, r := range whole {
			if i > 0 && (len(whole)-i)%3 == 0 && whole[i-1] != '-' {
				b.WriteString(map[string]string{"en": ",", "es": "\u00a0"}[lang])
			}
			b.WriteRune(r)
		}
		whole = b.String()
	}
	if broken {
		whole += map[string]string{"en": ".", "es": ","}[lang] + rest
	}
	return whole
}

// Show writes a figure in a language: a number, or how it is hidden.
func (f Figure) Show(k int, lang string) string {
	switch {
	case f.N != nil:
		return number(float64(*f.N), lang)
	case f.Hidden == HiddenSmall:
		return fmt.Sprintf("<%d", k)
	case f.Hidden == HiddenProtecting:
		return "*"
	}
	return "–"
}

func showFloat(v *float64, lang string) string {
	if v == nil {
		return "–"
	}
	return number(*v, lang)
}

func showPercent(p *int) string {
	if p == nil {
		return "–"
	}
	return strconv.Itoa(*p) + " %"
}

// days says the period by the days that it begins and ends with.
func (p Period) days(lang string) string {
	zone, err := time.LoadLocation(p.Zone)
	if err != nil {
		zone = time.UTC
	}
	end := func(text *string, last bool, open Text) string {
		if text == nil {
			return open.In(lang)
		}
		at, err := time.Parse(time.RFC3339, *text)
		if err != nil {
			return *text
		}
		if at = at.In(zone); last {
			at = at.Add(-time.Second)
		}
		return longDay(at, lang)
	}
	from, to := end(p.From, false, Text{"the beginning", "el inicio"}), end(p.To, true, Text{"now", "hoy"})
	return Text{from + " to " + to, "Del " + from + " al " + to}.In(lang)
}

var monthNames = map[string][12]string{
	"en": {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	"es": {"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"},
}

func longDay(at time.Time, lang string) string {
	month := monthNames[lang][at.Month()-1]
	if lang == "es" {
		return fmt.Sprintf("%d de %s de %d", at.Day(), month, at.Year())
	}
	return fmt.Sprintf("%s %d, %d", month, at.Day(), at.Year())
}
