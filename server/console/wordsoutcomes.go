package console

import "github.com/tandem-response/tandem/web"

// outcomeWords are what the pages of outcomes, of a team's load and of the public report say.
//
//nolint:misspell // Half of it is Spanish.
var outcomeWords = web.Words{
	"navOutcomes": {"Outcomes", "Resultados"}, "forStaff": {"For staff", "Para el personal"}, "whichReport": {"Which report", "Qué informe"}, "showReport": {"Show", "Mostrar"},
	"metricsList": {"To one of the metrics", "A una de las métricas"},
	"allYours":    {"All of yours", "Todos los suyos"}, "ownDays": {"Which days, where the period is “Own days”", "Qué días, si el período es «Días propios»"},
	"period.quarter": {"This quarter", "Este trimestre"}, "period.last_quarter": {"Last quarter", "El trimestre pasado"}, "period.month": {"This month", "Este mes"}, "period.last_month": {"Last month", "El mes pasado"},
	"period.year": {"Year to date", "El año hasta hoy"}, "period.own": {"Own days", "Días propios"},
	"isCounting":      {"It is being counted: %d records read. This page shows it when it is done.", "Se está contando: %d registros leídos. Esta página lo muestra cuando termine."},
	"isCountingStill": {"It is being counted still: %d records read. This page asks no more by itself. Press “Look again” within a minute, else the count ends and begins anew when you ask.", "Se sigue contando: %d registros leídos. Esta página ya no pregunta por sí sola. Pulse «Ver de nuevo» antes de un minuto; si no, el recuento se detiene y empieza de nuevo cuando lo pida."},
	"countedAtSeq":    {"Counted at %s, at state %d of the database.", "Contado a las %s, con el estado %d de la base de datos."}, "countAnew": {"Count anew", "Contar de nuevo"},
	"withoutSUD":      {"Records of a substance use program (42 CFR Part 2) are not counted here: not all of these are yours to read.", "No se cuentan aquí los registros de un programa de consumo de sustancias (42 CFR parte 2): no todos son para su lectura."},
	"noProgramsYours": {"There is no program whose metrics you read: none whose teams you lead, none of your agency.", "No hay ningún programa cuyas métricas lea: ninguno cuyos equipos dirija, ninguno de su agencia."},
	"errDays":         {"These days are no period: give a first and a last day, the last one not before the first.", "Estos días no forman un período: indique un primer y un último día, el último no anterior al primero."},
	"errBusy":         {"Too many reports are being counted, or one of yours that you asked for on another page. Nothing is lost: try again in half a minute.", "Se están contando demasiados informes, o uno suyo que pidió en otra página. No se ha perdido nada: inténtelo dentro de medio minuto."},
	"errCountLong":    {"Counting took too long and was ended. Nothing is lost: ask for fewer days or one program, or try again when less is going on.", "El recuento tardó demasiado y se detuvo. No se ha perdido nada: pida menos días o un solo programa, o inténtelo cuando haya menos actividad."},

	"popTitle": {"Who lives where your agency works", "Quién vive donde trabaja su agencia"},
	"popSays":  {"With a table of how many people live there, M21 shows for each group how many were helped for each 1,000, and who is left out. It counts in every report of your agency's programs for staff, from the next count on, and in nothing that is published. The table holds numbers of people alone, for example from the census. Take races “alone or in combination”, with a line two_or_more: people of several races count in each here, so with numbers of one race alone others would look left out. A file with the first line alone removes it.", "Con una tabla de cuántas personas viven allí, M21 muestra de cada grupo cuántas recibieron ayuda por cada 1000, y quién queda fuera. Cuenta en todo informe para el personal de los programas de su agencia, desde el próximo recuento, y en nada de lo que se publica. La tabla contiene solo números de personas, por ejemplo del censo. Tome las razas «solas o en combinación», con una línea two_or_more: aquí las personas de varias razas cuentan en cada una, y con números de una sola raza otras parecerían quedar fuera. Un archivo con solo la primera línea la elimina."},
	"popNone":  {"There is no table yet.", "Aún no hay ninguna tabla."}, "popThere": {"There is a table, loaded %s.", "Hay una tabla, cargada %s."},
	"popFile": {"A table as CSV, with these columns", "Una tabla en CSV, con estas columnas"}, "popLoad": {"Load this table", "Cargar esta tabla"},
	"popWrong":    {"Nothing was changed: mend this and send it again.", "No se ha cambiado nada: corrija esto y envíelo de nuevo."},
	"okPopulated": {"The table is loaded.", "La tabla está cargada."}, "okUnpopulated": {"The table is removed.", "La tabla se ha eliminado."},

	// The team's load and its weeks.
	"navTeam": {"Team", "Equipo"}, "notAssigned": {"Not assigned", "Sin asignar"}, "onlyOf": {"Only what is with: %s", "Solo lo que lleva: %s"}, "ofAll": {"Of everybody", "De todos"},
	"weeksTitle": {"This week and the last", "Esta semana y la anterior"}, "weeksSay": {"Weeks begin on Monday; this one on %s.", "Las semanas empiezan en lunes; esta, el %s."},
	"weekThis": {"This week so far", "Esta semana hasta ahora"}, "weekThen": {"Last week until the same hour", "La anterior hasta la misma hora"}, "weekLast": {"All of last week", "Toda la semana anterior"},
	"weekCalls": {"Calls", "Llamadas"}, "weekCrises": {"Crisis responses, signed", "Respuestas a crisis firmadas"}, "weekFollowUps": {"Follow-ups done", "Seguimientos hechos"}, "weekReferrals": {"Referrals connected", "Referencias conectadas"},
	"loadTitle": {"What is with whom", "Qué lleva cada quien"}, "loadSays": {"A follow-up is with whom it was given to, an episode with who leads it, everything else with who wrote it. A number leads to the records.", "Un seguimiento es de quien lo tiene asignado, un episodio de quien lo dirige, todo lo demás de quien lo escribió. Cada número lleva a los registros."},
	"loadOverdue": {"Follow-ups overdue", "Seguimientos vencidos"}, "loadPlanned": {"Follow-ups to come", "Seguimientos por venir"}, "loadDrafts": {"Drafts over 24 h", "Borradores de más de 24 h"}, "loadUnreviewed": {"Unreviewed", "Sin revisar"},
	"loadEpisodes": {"Open episodes", "Episodios abiertos"}, "loadEnding": {"of them in the last 15 days or over", "de ellos en los últimos 15 días o terminados"},
	"loadReferrals7": {"Referrals up to 7 days", "Referencias de hasta 7 días"}, "loadReferrals14": {"Referrals of 7 to 14 days", "Referencias de 7 a 14 días"}, "loadReferralsOld": {"Referrals older than 14 days", "Referencias de más de 14 días"}, "loadAll": {"All", "Total"},

	// The public report.
	"navPublish": {"Public report", "Informe público"}, "everyProgram": {"All programs together", "Todos los programas juntos"}, "noProgramsOurs": {"Your agency has no program.", "Su agencia no tiene ningún programa."},
	"publishedTitle": {"Published", "Publicados"}, "publishedNone": {"Nothing was published yet.", "Aún no se ha publicado nada."}, "frozenTitle": {"Frozen, ready to be published", "Fijadas, listas para publicar"}, "frozenNone": {"Nothing was frozen yet.", "Aún no se ha fijado nada."},
	"frozenSays": {"75 days after its end the server freezes the metrics of a month and a quarter as they may be published. They never change, and are what is published of that period.", "75 días después de su fin el servidor fija las métricas de un mes y de un trimestre tal como pueden publicarse. No cambian nunca, y son lo que se publica de ese período."},
	"frozenAt":   {"%s, state %d", "%s, estado %d"}, "pubAsk": {"A new public report", "Un informe público nuevo"}, "pubDo": {"Preview", "Vista previa"},
	"pubSays":  {"First you see exactly what would be published: small counts are hidden, with what would give them away.", "Primero verá exactamente lo que se publicaría: los recuentos pequeños se ocultan, con lo que los revelaría."},
	"pubTitle": {"Preview: nothing is published yet", "Vista previa: aún no se ha publicado nada"}, "pubWithheld": {"Figures not shown: %d.", "Cifras no mostradas: %d."},
	"pubFrozen": {"It is what was frozen, at state %d of the database.", "Es lo que se fijó, con el estado %d de la base de datos."}, "pubNewest": {"It is the state that was newest when it was counted, %d: of this period nothing was frozen that may be published.", "Es el estado más reciente cuando se contó, %d: de este período no hay nada fijado que pueda publicarse."},
	"publishThis": {"Publish this report", "Publicar este informe"}, "publishThisSays": {"Everybody can read it from then on. It never changes, it cannot be taken back, and no other report of these days can be published.", "Desde entonces cualquiera puede leerlo. No cambia nunca, no se puede retirar, y no se podrá publicar otro informe de estos días."},
	"frozenSUD":       {"It counts records of a substance use program (42 CFR Part 2): it is not published. Where you ask for this period the newest state is counted, without them.", "Cuenta registros de un programa de consumo de sustancias (42 CFR parte 2): no se publica. Si pide este período se cuenta el estado más reciente, sin ellos."},
	"okReported":      {"The report is published.", "El informe está publicado."},
	"errOverlap":      {"A report on some of these days is published already, and the two could be subtracted from each other. Choose other days, or show the one that there is.", "Ya hay publicado un informe sobre algunos de estos días, y podrían restarse uno del otro. Elija otros días o muestre el que hay."},
	"errOpenPeriod":   {"Only a period that is over is published. Choose days that have passed.", "Solo se publica un período que ha terminado. Elija días que hayan pasado."},
	"errOtherPreview": {"What would be published is not what stood on your screen any more. Nothing was published: look at it again.", "Lo que se publicaría ya no es lo que veía en pantalla. No se ha publicado nada: vuelva a mirarlo."},
}
