// Package packs holds the form packs of our own wording that the program itself shows.
package packs

import _ "embed"

// SafetyPlan is the questionnaire of the pack safety-plan, in the JSON of FHIR R4.
//
//go:embed safety-plan/questionnaire.json
var SafetyPlan []byte
