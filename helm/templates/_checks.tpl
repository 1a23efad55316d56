{{/*
Checks that a JSON schema cannot express in readable errors: each error names the key and says what is allowed. Types,
choices and bounds are in values.schema.json.
*/}}
{{- define "sscd.check" -}}
{{- if .Chart.IsRoot -}}
{{- range $key := list "install" "installed" "enable" "enabled" "create" "deploy" "tags" -}}
{{- if and (hasKey $.Values $key) (not (kindIs "invalid" (get $.Values $key))) -}}
{{- fail (printf "%s is a key of a chart that has this one as a subchart; here it has no effect: remove it" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $duration := list "^([0-9]+(\\.[0-9]*)?(ms|s|m|h))*[0-9.]*[1-9][0-9.]*(ms|s|m|h)([0-9]+(\\.[0-9]*)?(ms|s|m|h))*$" "a duration such as 30s, 2m or 1h30m" -}}
{{- $directory := list "^/[^ ,]+$" "an absolute path such as /var/lib/kubelet" -}}
{{- $drive := list "^[A-Za-z]:" "a path with its drive such as C:\\var\\lib\\kubelet" -}}
{{- $address := list "^[^ /]*:[0-9]{1,5}$" "an address such as :8095 or 127.0.0.1:8095" -}}
{{- $digest := list "^sha256:[0-9a-f]{64}$" "sha256: and 64 hexadecimal digits" -}}
{{- $repository := list "^[^\\s@:]+(:[0-9]+/[^\\s@:]+)?$" "an image's name without tag and digest, such as registry.example/secrets-store-csi" -}}
{{- $tag := list "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$" "an image's tag such as 0.1.0" -}}
{{- $checks := list
  (list "rotationPollInterval" .Values.rotationPollInterval $duration)
  (list "providerHealthCheckInterval" .Values.providerHealthCheckInterval $duration)
  (list "podMonitor.interval" .Values.podMonitor.interval $duration) -}}
{{- if .Values.linux.enabled -}}
{{- $linux := .Values.linux -}}
{{- $checks = concat $checks (list
  (list "linux.kubeletRootDir" $linux.kubeletRootDir $directory)
  (list "linux.providersDir" $linux.providersDir $directory)
  (list "linux.metricsAddr" (default nil $linux.metricsAddr) $address)
  (list "linux.image.repository" $linux.image.repository $repository)
  (list "linux.image.tag" $linux.image.tag $tag)
  (list "linux.image.digest" (default nil $linux.image.digest) $digest)) -}}
{{- range $linux.additionalProvidersDirs }}{{- $checks = append $checks (list "linux.additionalProvidersDirs" . $directory) }}{{- end -}}
{{- range $part := list "driver" "registrar" "livenessProbe" -}}
{{- range $kind := list "limits" "requests" -}}
{{- range $name, $value := default dict (get (default dict (get (default dict (get $linux $part)) "resources")) $kind) -}}
{{- $form := list "^([0-9]+(\\.[0-9]+)?(e\\+?[0-9]+)?|[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T))?$" "a quantity such as 200Mi or 1.5Gi" -}}
{{- if eq $name "cpu" }}{{- $form = list "^([0-9]+(\\.[0-9]+)?|[0-9]+m)?$" "a quantity such as 200m or 1.5" }}{{- end -}}
{{- $checks = append $checks (list (printf "linux.%s.resources.%s.%s" $part $kind $name) $value $form) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasSuffix (printf ":%v" .Values.livenessProbe.port) (toString $linux.metricsAddr) -}}
{{- fail (printf "livenessProbe.port=%v is also the port of linux.metricsAddr=%s, and both are in one container: give one of them another port" .Values.livenessProbe.port $linux.metricsAddr) -}}
{{- end -}}
{{- end -}}
{{- if .Values.windows.enabled -}}
{{- $checks = concat $checks (list
  (list "windows.kubeletRootDir" .Values.windows.kubeletRootDir $drive)
  (list "windows.providersDir" .Values.windows.providersDir $drive)
  (list "windows.metricsAddr" .Values.windows.metricsAddr $address)) -}}
{{- range $part := list "image" "registrarImage" "livenessProbeImage" -}}
{{- $image := get $.Values.windows $part -}}
{{- $checks = concat $checks (list
  (list (printf "windows.%s.repository" $part) $image.repository $repository)
  (list (printf "windows.%s.tag" $part) $image.tag $tag)
  (list (printf "windows.%s.digest" $part) (default nil $image.digest) $digest)) -}}
{{- end -}}
{{- range .Values.windows.additionalProvidersDirs }}{{- $checks = append $checks (list "windows.additionalProvidersDirs" . $drive) }}{{- end -}}
{{- if .Values.syncSecret.namespaces -}}
{{- fail "syncSecret.namespaces: the Go driver on Windows nodes needs access to the Secrets of all namespaces; leave the list empty, or set windows.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- range $checks -}}
{{- $key := index . 0 }}{{- $value := index . 1 }}{{- $form := index . 2 -}}
{{- if not (or (kindIs "invalid" $value) (regexMatch (index $form 0) (toString $value))) -}}
{{- fail (printf "%s=%v: it must be %s" $key $value (index $form 1)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.linux.enabled }}{{- include "sscd.checkArgs" . }}{{- end -}}
{{- end -}}
