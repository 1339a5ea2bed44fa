package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/syncengine/record"
)

// maxPopulation bounds the rows of a table of population.
const maxPopulation = 20_000

// PopulationError says what is wrong with a table of population, and never what stands in it.
type PopulationError struct {
	// Line of the file; 0 for all of it.
	Line int
	Says Text
}

// Error implements error.
func (e *PopulationError) Error() string { return "the population table: " + e.In("en") }

// In returns what is wrong, and in which line, in a language.
func (e *PopulationError) In(lang string) string {
	if e.Line == 0 {
		return e.Says.In(lang)
	}
	return Text{"line ", "línea "}.In(lang) + strconv.Itoa(e.Line) + ": " + e.Says.In(lang)
}

// ReadPopulation reads a table of how many people live somewhere: CSV with the columns
// breakdown, group, people. Breakdowns and groups are those of a report, for example
// gender and woman, or zip and 61820. What is wrong with it is a *PopulationError.
func ReadPopulation(r io.Reader) (map[string]map[string]int, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 3
	head, err := in.Read()
	if err == nil {
		// Spreadsheets begin a file so.
		head[0] = strings.TrimPrefix(head[0], "\ufeff")
	}
	if err != nil || !slices.Equal(head, []string{"breakdown", "group", "people"}) {
		return nil, &PopulationError{Says: Text{"it begins with the line breakdown,group,people", "empieza con la línea breakdown,group,people"}}
	}
	all := map[string]map[string]int{}
	known := append(slices.Clone(ofCalls), byModel)
	breakdowns := strings.Join(known, ", ")
	domain := record.New()
	for line := 2; ; line++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		wrong := func(en, es string) error { return &PopulationError{line, Text{en, es}} }
		if _, bad := errors.AsType[*csv.ParseError](err); bad {
			return nil, wrong("want three values with commas between them", "se esperan tres valores separados por comas")
		}
		if err != nil {
			return nil, fmt.Errorf("the population table: %w", err)
		}
		if line > maxPopulation {
			return nil, wrong("it has too many lines: the last one is "+strconv.Itoa(maxPopulation), "tiene demasiadas líneas: la última es la "+strconv.Itoa(maxPopulation))
		}
		n, err := strconv.Atoi(row[2])
		if err != nil || n < 0 || !slices.Contains(known, row[0]) || row[1] == "" {
			return nil, wrong("want one of the breakdowns "+breakdowns+"; a group; and a number of people", "se espera uno de los desgloses "+breakdowns+"; un grupo; y un número de personas")
		}
		if !groupOf(domain, row[0], row[1]) {
			return nil, wrong("this is no group of the breakdown "+row[0]+": docs/outcomes.md has the groups of each", "este no es un grupo del desglose "+row[0]+": docs/outcomes.md tiene los grupos de cada uno")
		}
		if all[row[0]] == nil {
			all[row[0]] = map[string]int{}
		}
		if _, twice := all[row[0]][row[1]]; twice {
			return nil, wrong("this group stands there twice", "este grupo aparece dos veces")
		}
		all[row[0]][row[1]] = n
	}
}

var (
	zipGroup  = regexp.MustCompile(`^[0-9]{5}$`)
	langGroup = regexp.MustCompile(`^[a-z]{2,3}$`)
	hourGroup = regexp.MustCompile(`^(00-05|06-11|12-17|18-23)$`)
)

// groupOf reports whether somebody can be in a group: one that is spelt otherwise would look
// as if nobody of it were helped.
func groupOf(domain *record.Domain, dim, code string) bool {
	if code == groupUnknown {
		return false
	}
	switch dim {
	case byAge:
		for _, b := range bands {
			if b.name == code {
				return true
			}
		}
		return false
	case byZIP:
		return zipGroup.MatchString(code)
	case byLang:
		return langGroup.MatchString(code)
	case byHour:
		return hourGroup.MatchString(code)
	case byRace:
		return code == groupSeveral || domain.HasCode(groupList(dim), code)
	}
	list := groupList(dim)
	return list == "" || domain.HasCode(list, code)
}
