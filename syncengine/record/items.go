package record

import (
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

// itemWords say what a work item asks of a person, in English and in Spanish.
var itemWords = map[syncengine.ItemKind][2]string{
	syncengine.ItemDiffers: {
		"A field holds different values. Choose one.",
		"Un campo tiene valores distintos. Elija uno.",
	},
	syncengine.ItemOlderVersion: {
		"Somebody acted on an older version of the record. Check that the act still fits.",
		"Alguien actuó sobre una versión anterior del registro. Revise que la acción siga siendo válida.",
	},
	syncengine.ItemNotInSigned: {
		"A value stands beside the signed version that its signer had not seen. Amend the record, or set the value aside.",
		"Junto a la versión firmada hay un valor que quien firmó no había visto. Enmiende el registro o descarte el valor.",
	},
	syncengine.ItemLateEdit: {
		"An edit came after the record was signed, locked or voided. Amend the record, or set the edit aside.",
		"Una modificación llegó después de firmar, bloquear o anular el registro. Enmiende el registro o descarte la modificación.",
	},
	syncengine.ItemByPolicy: {
		"A newer value took the place of one that its author had not seen.",
		"Un valor más nuevo reemplazó a otro que la persona que escribió no había visto.",
	},
	syncengine.ItemTimeSuspect: {
		"The clock of the device was wrong when this was written. Check its times.",
		"El reloj del dispositivo estaba mal cuando esto se escribió. Revise las horas.",
	},
}

// ItemWords returns what a work item about a record of a kind asks of a person, in
// English and in Spanish; the item's own code where this version does not know it.
func (d *Domain) ItemWords(item syncengine.ItemKind, kind uint32) (en, es string) {
	if w, ok := itemWords[item]; ok {
		return w[0], w[1]
	}
	name, rule := strings.CutPrefix(string(item), "rule_")
	k := d.kinds[kind]
	if !rule || k == nil {
		return string(item), string(item)
	}
	for _, r := range k.review {
		if r.name == name {
			return r.en, r.es
		}
	}
	for _, r := range k.among {
		if r.name == name {
			return r.en, r.es
		}
	}
	if name == misplaced {
		return "Something of a substance use program (42 CFR Part 2) was recorded where others of the team read it. Find it, record it anew and void it there.",
			"Algo de un programa de consumo de sustancias (42 CFR Parte 2) se registró donde lo leen otros del equipo. Búsquelo, regístrelo de nuevo y anúlelo allí."
	}
	if name == "exclusive" {
		return "Codes that exclude each other stand side by side. Choose one.", "Hay códigos que se excluyen entre sí. Elija uno."
	}
	return "Something that the record needs is missing. Complete it.", "Falta algo que el registro necesita. Complételo."
}
