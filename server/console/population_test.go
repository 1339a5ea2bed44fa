package console_test

import (
	"net/http"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
)

// What is wrong with a table stands on the screen until the admin has read it, in their
// language. Nobody asked for a report: none is counted, shown or noted.
func TestRefusedPopulation(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	ada := o.signIn(o.ada, "ada.admin")
	a := ada.upload("/console/outcomes/population", "table.csv", []byte("breakdown,group,people\ngender,Canarygroup,1\n"))
	a.want(t, http.StatusUnprocessableEntity, "Nothing was changed", "line 2", "This quarter", "Load this table").never(t, "Canarygroup", "being counted", "M1 People helped")
	if to := a.head.Get("Refresh"); to != "" {
		t.Errorf("the reason goes away by itself: %q", to)
	}
	ada.lang = "es"
	for file, says := range map[string]string{
		"group,people\n": "empieza con la línea", "breakdown,group,people\ngender,woman\n": "línea 2: se esperan tres valores", "breakdown,group,people\ngender,Canarygroup,1\n": "línea 2: este no es un grupo",
	} {
		ada.upload("/console/outcomes/population", "table.csv", []byte(file)).want(t, http.StatusUnprocessableEntity, "No se ha cambiado nada", says).never(t, "line ", "begins", "Canarygroup")
	}
	if n := len(o.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ)); n != 0 {
		t.Errorf("%d readings are noted of figures that nobody saw", n)
	}
}
