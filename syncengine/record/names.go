package record

// Names of kinds, as the contract states them.
const (
	agency    = "agency"
	program   = "program"
	team      = "team"
	staff     = "staff"
	device    = "device"
	incident  = "incident"
	person    = "person"
	encounter = "encounter"
	referral  = "referral"
	note      = "note"
	// form and formResponse: see forms.go.
	form         = "form"
	formResponse = "form_response"
)

// Role codes of the list staff_role.
const (
	clinician = "clinician"
	peer      = "peer"
	lePartner = "le_partner"
	lead      = "lead"
	admin     = "admin"
	auditor   = "auditor"
	analyst   = "analyst"
	// operator is no code: it stands for the server's own acts.
	operator = "(operator)"
)

// noteType is the number of Note.type; privateNote the code of it whose notes are
// their author's own.
const (
	noteType    = 21
	privateNote = "private_psychotherapy"
)
