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

// ReadPopulation reads a table of how many people live somewhere: CSV with the columns
// breakdown, group, people. Breakdowns and groups are those of a report, for example
// gender and woman, or zip and 61820.
func ReadPopulation(r io.Reader) (map[string]map[string]int, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 3
	head, err := in.Read()
	if err == nil {
		// Spreadsheets begin a file so.
		head[0] = strings.TrimPrefix(head[0], "\ufeff")
	}
	if err != nil || !slices.Equal(head, []string{"breakdown", "group", "people"}) {
		return nil, errors.New("the population table begins with the line breakdown,group,people")
	}
	all := map[string]map[string]int{}
	known := append(slices.Clone(ofCalls), byModel)
	domain := record.New()
	for line := 2; ; line++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the population table: %w", err)
		}
		if line > maxPopulation {
			return nil, fmt.Errorf("the population table has more than %d lines", maxPopulation)
		}
		n, err := strconv.Atoi(row[2])
		if err != nil || n < 0 || !slices.Contains(known, row[0]) || row[1] == "" {
			return nil, fmt.Errorf("the population table, line %d: want one of the breakdowns %v, a group, and a number of people", line, known)
		}
		if !groupOf(domain, row[0], row[1]) {
			return nil, fmt.Errorf("the population table, line %d: this is no group of the breakdown %s: docs/outcomes.md has the groups of each", line, row[0])
		}
		if all[row[0]] == nil {
			all[row[0]] = map[string]int{}
		}
		if _, twice := all[row[0]][row[1]]; twice {
			return nil, fmt.Errorf("the population table, line %d: this group stands there twice", line)
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
