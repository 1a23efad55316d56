{{/* "true" if kubelet sends tokens: by the values, or by a CSIDriver object that somebody has changed. */}}
{{- define "sscd.tokensRequested" -}}
{{- $found := lookup "storage.k8s.io/v1" "CSIDriver" "" "secrets-store.csi.k8s.io" -}}
{{- if or .Values.tokenRequests (dig "spec" "tokenRequests" list (default dict $found)) -}}true{{- end -}}
{{- end -}}

{{/* The container's arguments except linux.extraArgs, as a YAML list. */}}
{{- define "sscd.args" -}}
{{- $linux := .Values.linux -}}
{{- $kubelet := trimSuffix "/" $linux.kubeletRootDir -}}
{{- $args := list -}}
{{- if .Values.logVerbosity }}{{- $args = append $args (printf "-v=%v" .Values.logVerbosity) }}{{- end -}}
{{- if .Values.logFormatJSON }}{{- $args = append $args "--log-format-json=true" }}{{- end -}}
{{- $args = concat $args (list
  "--endpoint=$(CSI_ENDPOINT)"
  "--nodeid=$(KUBE_NODE_NAME)"
  (printf "--provider-volume=%s" $linux.providersDir)
  (printf "--additional-provider-volume-paths=%s" (join "," $linux.additionalProvidersDirs))
  (printf "--metrics-addr=%v" $linux.metricsAddr)) -}}
{{- if .Values.enableSecretRotation }}{{- $args = append $args "--enable-secret-rotation=true" }}{{- end -}}
{{- with .Values.rotationPollInterval }}{{- $args = append $args (printf "--rotation-poll-interval=%v" .) }}{{- end -}}
{{- $args = concat $args (list
  (printf "--provider-health-check=%t" .Values.providerHealthCheck)
  (printf "--provider-health-check-interval=%v" .Values.providerHealthCheckInterval)
  (printf "--max-call-recv-msg-size=%d" (int64 .Values.maxCallRecvMsgSize))) -}}
{{- if .Values.syncSecret.adoptExisting }}{{- $args = append $args "--adopt-secrets=true" }}{{- end -}}
{{- $args = concat $args (list
  (printf "--kubelet-pods-dir=%s/pods" $kubelet)
  (printf "--kubelet-registration-path=%s/plugins/csi-secrets-store/csi.sock" $kubelet)
  "--plugin-registration-path=/registration"
  (printf "--probe-http-endpoint=0.0.0.0:%v" .Values.livenessProbe.port)
  "--probe-timeout=3s") -}}
{{- if not (kindIs "invalid" .Values.statusEndpoint) }}{{- $args = append $args (printf "--status-endpoint=%s" .Values.statusEndpoint) }}{{- end -}}
{{- if not (kindIs "invalid" .Values.tmpfsSize) }}{{- $args = append $args (printf "--tmpfs-size=%d" (int64 .Values.tmpfsSize)) }}{{- end -}}
{{- if ne (int .Values.rotationJitterPercent) 10 }}{{- $args = append $args (printf "--rotation-jitter-percent=%d" (int .Values.rotationJitterPercent)) }}{{- end -}}
{{- if not .Values.tmpfsNoexec }}{{- $args = append $args "--tmpfs-noexec=false" }}{{- end -}}
{{- if .Values.volumeAttributesOverride }}{{- $args = append $args "--volume-attributes-override=true" }}{{- end -}}
{{- if include "sscd.readByPatch" . }}{{- $args = append $args "--read-secrets-by-patch=true" }}{{- end -}}
{{- if not (include "sscd.tokensRequested" .) }}{{- $args = append $args "--accept-context-tokens=false" }}{{- end -}}
{{- if .Values.volumeCondition }}{{- $args = append $args "--volume-condition=true" }}{{- end -}}
{{- if .Values.restartOnRotation.enabled }}{{- $args = append $args "--restart-on-rotation=true" }}{{- end -}}
{{- if .Values.startupTaint.enabled }}
{{- $args = concat $args (list "--remove-startup-taint=true" (printf "--startup-taint=%s" .Values.startupTaint.key)) }}
{{- with .Values.startupTaint.providers }}{{- $args = append $args (printf "--startup-taint-providers=%s" (join "," .)) }}{{- end }}
{{- end -}}
{{- toYaml $args -}}
{{- end -}}

{{/*
Checks linux.extraArgs and the arguments above: what the program would refuse, on every node, fails the render. flags.yaml has the
program's flags and the forms of their values; it is generated from the program.
*/}}
{{- define "sscd.checkArgs" -}}
{{- $data := .Files.Get "flags.yaml" | fromYaml -}}
{{- $wrong := list -}}
{{- $given := dict -}}
{{- range $argument := include "sscd.args" . | fromYamlArray -}}
{{- $name := regexReplaceAll "^--?([^=]+).*$" $argument "${1}" -}}
{{- $_ := set $given $name "set" -}}
{{- $value := regexReplaceAll "^[^=]+=" $argument "" -}}
{{- $flag := get $data.flags $name -}}
{{- $form := get $data.forms $flag.form -}}
{{- if not (or (hasPrefix "$(" $value) (regexMatch $form.pattern $value)) -}}
{{- $wrong = append $wrong (printf "%s: --%s=%s must be %s" ($flag.value | default "values") $name $value $form.says) -}}
{{- end -}}
{{- end -}}
{{- range $argument := .Values.linux.extraArgs -}}
{{- $problem := "" -}}
{{- $name := regexReplaceAll "^--?([^-=][^=]*)(=(?s:.*))?$" $argument "${1}" -}}
{{- $flag := get $data.flags $name | default dict -}}
{{- if not (regexMatch "^--?[^-=\\s][^=\\s]*(=(?s:.*))?$" $argument) -}}
{{- $problem = "it must be a flag such as --volume-condition=true, with its value behind an equals sign" -}}
{{- else if not $flag -}}
{{- $problem = printf "the program has no flag --%s: docs/flags.md lists them" $name -}}
{{- else if eq $name "version" -}}
{{- $problem = "the program would print its version and exit" -}}
{{- else if eq (get $given $name) "set" -}}
{{- $problem = printf "the chart sets --%s itself%s" $name (ternary (printf ", from the value %s: set that" $flag.value) "" (hasKey $flag "value")) -}}
{{- else if hasKey $given $name -}}
{{- $problem = printf "--%s is there twice" $name -}}
{{- else if contains "=" $argument -}}
{{- $form := get $data.forms $flag.form -}}
{{- if not (regexMatch $form.pattern (regexReplaceAll "^[^=]+=" $argument "")) -}}
{{- $problem = printf "--%s must be %s" $name $form.says -}}
{{- end -}}
{{- else if not $flag.switch -}}
{{- $problem = printf "write --%s=VALUE" $name -}}
{{- end -}}
{{- $_ := set $given $name "given" -}}
{{- with $problem }}{{- $wrong = append $wrong (printf "linux.extraArgs: %s: %s" $argument .) }}{{- end -}}
{{- end -}}
{{- with $wrong }}{{- fail (join "; " .) }}{{- end -}}
{{- end -}}
