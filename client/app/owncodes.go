package app

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

// own are the codes that agencies have added to the lists. Where they cannot be read the core
// codes do: nobody waits for the other ones.
func (v *visit) own() *record.OwnCodes {
	if v.added != nil || v.dev == nil {
		return v.added
	}
	own, err := v.dev.OwnCodes(v.ctx())
	if err != nil {
		own = &record.OwnCodes{}
	}
	v.added = own
	return own
}

// validate judges what a form says, with the codes of the agency.
func (v *visit) validate(msg proto.Message, e record.Entry) []record.Problem {
	e.Own, e.Agency = v.own(), v.me.Agency.String()
	return v.domain().Validate(msg, e)
}

// offered are the choices of a list for whoever works here.
func (v *visit) offered(list string) (options []web.Option) {
	own := (*record.OwnCodes)(nil)
	if slices.Contains(record.Extendable, list) {
		own = v.own()
	}
	for _, c := range own.Offered(v.domain(), list, v.me.Agency.String()) {
		label := c.EN
		if v.lang == record.Spanish {
			label = c.ES
		}
		options = append(options, web.Option{Code: c.Code, Label: label})
	}
	return options
}
