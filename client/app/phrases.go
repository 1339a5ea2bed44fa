package app

import (
	"slices"
	"strings"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/web"
)

// phraseList is the code list of the sentences to begin a narrative with.
const phraseList = "phrase"

// phrases are the sentences that are offered: those of one's own agency first. Nothing of
// them is learned from what was written of anybody.
func (v *visit) phrases() []web.Option {
	options := v.offered(phraseList)
	slices.SortStableFunc(options, func(a, b web.Option) int { return v.place(a) - v.place(b) })
	return options
}

// place is 0 for an agency's own phrase, 1 for another.
func (v *visit) place(o web.Option) int {
	if v.domain().HasCode(phraseList, o.Code) {
		return 1
	}
	return 0
}

// addPhrase puts a phrase behind the narrative, where no script puts it where the writing is.
func (v *visit) addPhrase() error {
	view, err := v.get("encounter")
	if err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	options := v.phrases()
	i := slices.IndexFunc(options, func(o web.Option) bool { return o.Code == v.r.PostForm.Get("phrase") })
	if i < 0 || signed(view) {
		return client.ErrNotFound
	}
	words := strings.TrimRight(v.r.PostForm.Get("narrative"), " ")
	if words != "" && !strings.HasSuffix(words, "\n") {
		words += " "
	}
	v.r.PostForm.Set("narrative", words+options[i].Label)
	if err := v.posted("encounter", view.ID.String()); err != nil {
		return err
	}
	return v.to("encounter/" + view.ID.String() + "#f-narrative")
}
