{{/*
What the two charts share for Prometheus. The argument of "monitoring.rule" and "monitoring.podMonitor" is a dict:
  root      the chart's context
  name      of the object
  labels    its labels, as YAML
  values    prometheusRule or podMonitor of the values
*/}}
{{/* `parts` are those of files/alerts.yaml. */}}
{{- define "monitoring.rule" -}}
{{- $values := .values -}}
{{- $text := .root.Files.Get "files/alerts.yaml"
  | replace "STALE_AFTER_SECONDS" (toString (int64 (default 0 $values.staleAfterSeconds)))
  | replace "PROVIDER_SLOW_SECONDS" (toString $values.providerSlowSeconds)
  | replace "CLOCK_OFFSET_SECONDS" (toString $values.clockOffsetSeconds) -}}
{{- $alerts := fromYaml $text -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ .labels | indent 4 }}
{{- with $values.labels }}
{{ toYaml . | indent 4 }}
{{- end }}
spec:
  groups:
{{- range $part := .parts }}
    - name: secrets-store-{{ $part }}
      rules:
{{- range $rule := get $alerts $part }}
{{- with $values.runbookUrl }}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s#%s" . (lower $rule.alert)) }}
{{- end }}
{{ list $rule | toYaml | indent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* `selected` are labels of the pods, as YAML; `endpoints` a list of dicts with port and path. */}}
{{- define "monitoring.podMonitor" -}}
{{- $values := .values -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
{{ .labels | indent 4 }}
{{- with $values.labels }}
{{ toYaml . | indent 4 }}
{{- end }}
spec:
  selector:
    matchLabels:
{{ .selected | indent 6 }}
  podMetricsEndpoints:
{{- range .endpoints }}
    - port: {{ .port }}
      path: /metrics
      interval: {{ $values.interval }}
      # The alerts and the dashboard say on which node something is wrong.
      relabelings:
        - sourceLabels: [__meta_kubernetes_pod_node_name]
          targetLabel: node
{{- end }}
{{- end -}}
