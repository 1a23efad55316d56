{{/*
What the sync controller's account may do beyond what roles can express, and what nobody may write into a SecretSync. Names, rules and
the messages of the first two are those of the official controller's chart.
*/}}

{{/*
A ValidatingAdmissionPolicy and its binding, up to the policy's variables and validations. The argument has the dict `ctx`, the NAME
without its prefix, operations, groups and resources, and `everybody` if the policy is not for the controller's account only.
*/}}
{{- define "secretSync.policy" -}}
{{- $name := printf "secrets-store-sync-controller-%s" .name -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}-binding
  labels:
{{ include "secretSync.labels" .ctx | indent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
{{ include "secretSync.labels" .ctx | indent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: {{ toRawJson .groups }}
        apiVersions: ["*"]
        operations: {{ toRawJson .operations }}
        resources: {{ toRawJson .resources }}
  matchConditions:
{{- if .everybody }}
    # One from before the policies can be deleted, and its finalizers taken away.
    - name: the-specification-is-new
      expression: "oldObject == null || object.?spec != oldObject.?spec"
{{- else }}
    - name: the-controllers-account
      expression: request.userInfo.username == 'system:serviceaccount:{{ .ctx.root.Release.Namespace }}:{{ include "secretSync.account" .ctx }}'
{{- end }}
{{- end -}}

{{/* A CEL expression: whether an object has one owner, the SecretSync of its own name. */}}
{{- define "secretSync.owned" -}}
size({{ . }}.metadata.?ownerReferences.orValue([])) == 1 && {{ . }}.metadata.ownerReferences.all(owner, owner.kind == 'SecretSync' && owner.apiVersion.startsWith('secret-sync.x-k8s.io/') && owner.name == {{ . }}.metadata.name)
{{- end -}}

{{/* The beginning of the two messages that the official tests compare, as a CEL expression. */}}
{{- define "secretSync.refused" -}}
'secrets-store-sync-controller has failed to ' + request.operation + ' secret with ' + object.?type.orValue('Opaque') + ' type in the ' + request.namespace + ' namespace. '
{{- end -}}

{{- define "secretSync.policies" -}}
{{- $policies := .values.validatingAdmissionPolicies -}}
{{- if and $policies.applyPolicies (semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version) -}}
{{- $secrets := dict "ctx" . "groups" (list "") "resources" (list "secrets") -}}
{{- $syncs := dict "ctx" . "groups" (list "secret-sync.x-k8s.io") "resources" (list "secretsyncs") "operations" (list "CREATE" "UPDATE") "everybody" true -}}
{{- $allowed := $policies.allowedSecretTypes -}}
{{- $denied := default list $policies.deniedSecretTypes -}}
{{ include "secretSync.policy" (merge (dict "name" "create-update-policy" "operations" (list "CREATE" "UPDATE")) $secrets) }}
  validations:
    # A denied type is refused by the next policy: the API server shows the message of one of those that refuse, of any.
    - expression: {{ printf "object.?type.orValue('Opaque') in %s && %s" (concat $allowed $denied | toRawJson) (include "secretSync.owned" "object") | toRawJson }}
      messageExpression: {{ printf "%s + 'The controller can only create or update secrets in the allowed types list with a single secretsync owner.'" (include "secretSync.refused" .) | toRawJson }}
      message: The controller can only create or update secrets in the allowed types list with a single secretsync owner.
      reason: Forbidden
    - expression: "object.?immutable.orValue(false) == false && size(object.metadata.?finalizers.orValue([])) == 0"
      message: The controller makes no Secret immutable and sets no finalizers.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "create-update-token-deny-policy" "operations" (list "CREATE" "UPDATE")) $secrets) }}
  validations:
    - expression: {{ printf "!(object.?type.orValue('Opaque') in %s)" (toRawJson $denied) | toRawJson }}
      messageExpression: {{ printf "%s + 'The controller is not allowed to create or update secrets with this type.'" (include "secretSync.refused" .) | toRawJson }}
      message: The controller is not allowed to create or update secrets with this type.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "delete-policy" "operations" (list "DELETE")) $secrets) }}
  validations:
    - expression: "false"
      message: The controller never deletes a Secret; the garbage collector does.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "update-check-oldobject-policy" "operations" (list "UPDATE")) $secrets) }}
  validations:
    - expression: {{ include "secretSync.owned" "oldObject" | toRawJson }}
      message: The controller can only update a Secret that has a single owner, the SecretSync of its name.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "update-label-policy" "operations" (list "UPDATE")) $secrets) }}
  validations:
    - expression: "'secrets-store.sync.x-k8s.io' in oldObject.metadata.?labels.orValue({})"
      message: The controller can only update a Secret that has the label secrets-store.sync.x-k8s.io.
      reason: Forbidden
---
{{ include "secretSync.policy" (dict "ctx" . "name" "validate-token-policy" "operations" (list "CREATE") "groups" (list "") "resources" (list "serviceaccounts/token")) }}
  validations:
    - expression: object.spec.?expirationSeconds.orValue(3600) == 600
      message: The controller can only request tokens that expire after 600 seconds.
      reason: Forbidden
    - expression: {{ printf "size(object.spec.audiences) == 1 && object.spec.audiences.all(audience, audience in %s)" (include "secretSync.audiences" .) | toRawJson }}
      message: The controller can only request tokens for one audience of the chart's value tokenRequestAudience.
      reason: Forbidden
---
{{ include "secretSync.policy" (dict "ctx" . "name" "events-policy" "operations" (list "CREATE" "UPDATE") "groups" (list "" "events.k8s.io") "resources" (list "events")) }}
  validations:
    - expression: >-
        [object, oldObject].all(event, event == null || (event.?involvedObject.kind.orValue('') == 'SecretSync' &&
        event.?source.component.orValue('') == 'secrets-store-sync-controller'))
      message: The controller writes its own events only, on SecretSyncs.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "validate-label-policy") $syncs) }}
  variables:
    - name: labels
      expression: object.?spec.?secretObject.?labels.orValue({})
  validations:
    - expression: variables.labels.all(key, size(key) <= 317 && size(variables.labels[key]) <= 63)
      message: Label keys must not exceed 317 characters (254 for prefix+separator, 63 for name), label values must not exceed 63 characters.
      reason: Forbidden
    - expression: variables.labels.all(key, !key.startsWith('secrets-store.sync.x-k8s.io'))
      message: Label keys must not begin with secrets-store.sync.x-k8s.io, which is reserved.
      reason: Forbidden
---
{{ include "secretSync.policy" (merge (dict "name" "validate-annotation-policy") $syncs) }}
  variables:
    - name: annotations
      expression: object.?spec.?secretObject.?annotations.orValue({})
  validations:
    - expression: variables.annotations.all(key, size(key) < 317 && size(variables.annotations[key]) <= 262144)
      message: Annotation keys must be shorter than 317 characters, annotation values must not exceed 262144 characters.
      reason: Forbidden
    - expression: variables.annotations.all(key, !key.startsWith('secrets-store.sync.x-k8s.io'))
      message: Annotation keys must not begin with secrets-store.sync.x-k8s.io, which is reserved.
      reason: Forbidden
{{- end -}}
{{- end -}}
