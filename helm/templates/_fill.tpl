{{- define "sscd.fill" -}}
{{- $values := index . 0 -}}
{{- range $key, $default := index . 1 -}}
{{- $value := ternary (get $values $key) nil (hasKey $values $key) -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $values $key (deepCopy $default) -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) -}}
{{- include "sscd.fill" (list $value $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
