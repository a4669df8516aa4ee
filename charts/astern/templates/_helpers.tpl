{{- /* The name of everything in a namespace, and of the rights. */ -}}
{{- define "astern.name" -}}
{{- if contains "astern" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-astern" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* What the Deployment and the Service select by. It must never change. */ -}}
{{- define "astern.selector" -}}
app.kubernetes.io/name: astern
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "astern.labels" -}}
{{ include "astern.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "astern.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "astern.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must name an existing ServiceAccount when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "astern.image" -}}
{{- $image := .Values.image -}}
{{- printf "%s/%s:%s" $image.registry $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- /* Who gets the rights. */ -}}
{{- define "astern.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "astern.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /*
The rights that Astern needs wherever there are workloads: in all namespaces, or in each of the
listed ones. docs/security.md says what a stolen token could do with them.
*/ -}}
{{- define "astern.workloadRules" -}}
# Finds the workloads, and writes the restored template and its own annotations on them.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, patch]
# Tells which revision is current. They are never written.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
# Sees restarts, readiness and waiting containers. They are never written.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Tells which names in the metrics of ingress controllers lead to a workload. They are never written.
- apiGroups: [""]
  resources: [services]
  verbs: [list]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [list]
- apiGroups: [traefik.io]
  resources: [ingressroutes]
  verbs: [list]
# Knows what the config that a template refers to held, and keeps copies of it where a policy says
# `config.mode: Restore`. A ConfigMap that others use is never written. `delete` is what some clusters
# ask of whoever makes an object the owner of another.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.config.secrets }}
# Tells whether a Secret has changed. Contents are dropped as soon as they arrive.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
# Tells where traffic leads after a rollback, and what keeps pods from working. Never written.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [list]
- apiGroups: [""]
  resources: [resourcequotas, limitranges]
  verbs: [list]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
# Tells in a drill whether anybody may approve. Never written.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [list]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles]
  verbs: [get]
# Tells whether another rollout controller has a Deployment in its hands. They are never written.
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [list]
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [list]
- apiGroups: [rollouts.kruise.io]
  resources: [rollouts]
  verbs: [list]
# Keeps the templates that are known to have worked, and removes old ones.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# Tells the story in `kubectl describe`, and reads what others told of the pods of a bad release.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, list]
# Reads what people want, and says in the status what became of it. The spec is theirs.
- apiGroups: [astern.dev]
  resources: [rollbackpolicies]
  verbs: [get, list, watch]
- apiGroups: [astern.dev]
  resources: [rollbackpolicies/status]
  verbs: [patch]
# Keeps one record per incident. It is created before anything else is written; the patch is for
# its labels.
- apiGroups: [astern.dev]
  resources: [rollbacks]
  verbs: [get, list, watch, create, patch]
- apiGroups: [astern.dev]
  resources: [rollbacks/status]
  verbs: [patch]
{{- end -}}
