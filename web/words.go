package web

// Common are the words that every app of this package uses.
var Common = Words{
	"skip":            {"Skip to the content", "Saltar al contenido"},
	"lang":            {"Español", "English"},
	"langSay":         {"Cambiar a español", "Switch to English"},
	"back":            {"Back", "Volver"},
	"save":            {"Save", "Guardar"},
	"cancel":          {"Cancel", "Cancelar"},
	"undo":            {"Undo", "Deshacer"},
	"yes":             {"Yes", "Sí"},
	"no":              {"No", "No"},
	"ownWords":        {"Or in own words", "O con otras palabras"},
	"onePerLine":      {"One answer on each line.", "Una respuesta en cada línea."},
	"hint.person.dob": {"Year, or year-month, or year-month-day: 1984-07-21", "Año, año-mes o año-mes-día: 1984-07-21"},
	"none":            {"Nothing", "Nada"},
	"main":            {"Main menu", "Menú principal"},
	"optional":        {"optional", "opcional"},
	"choose":          {"Choose one", "Elija una opción"},
	"chooseN":         {"Choose any", "Elija las que correspondan"},
	"required":        {"needed", "necesario"},
	"phrases":         {"Phrases", "Frases"},
	"scaleSays":       {"Of the slider and what is ticked here the more cautious counts: take the tick away for the slider to count.", "Entre el control y lo marcado aquí cuenta lo más prudente: quite la marca para que cuente el control."},
	"notSet":          {"Not set", "Sin dato"},
	"noScript":        {"Without scripts: press Save before you leave a page.", "Sin scripts: pulse Guardar antes de salir de una página."},
}
