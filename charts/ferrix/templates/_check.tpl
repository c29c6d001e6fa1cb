{{/* What several values together cannot be. What one cannot be by itself, values.schema.json says. */}}
{{- define "ferrix.check" -}}
{{- include "ferrix.checkEntryPoints" . }}
{{- include "ferrix.checkService" . }}
{{- include "ferrix.checkPod" . }}
{{- if .Values.gatewayServices.enabled }}
  {{- if .Values.namespaces }}
    {{- fail "gatewayServices.enabled and namespaces exclude each other: Gateways are served where all namespaces are watched" }}
  {{- end }}
  {{- if dig "gateway" "addresses" (list) (.Values.settings | default dict) }}
    {{- fail "gatewayServices.enabled and settings.gateway.addresses exclude each other: a Gateway has one place" }}
  {{- end }}
{{- end }}
{{- with .Values.autoscaling }}
  {{- if .enabled }}
    {{- if ne $.Values.kind "Deployment" }}
      {{- fail "autoscaling.enabled needs kind: Deployment; a DaemonSet has as many pods as there are nodes" }}
    {{- end }}
    {{- if gt (int .minReplicas) (int .maxReplicas) }}
      {{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ferrix.checkEntryPoints" -}}
{{- $taken := dict "port 6192" "the admin page" }}
{{- if .Values.sharedLimits.enabled }}{{ $_ := set $taken "name replicas" "sharedLimits" }}{{ end }}
{{- range $entryPoint := .Values.entryPoints }}
  {{- range $key := list "name" "port" "servicePort" "hostPort" "nodePort" }}
    {{- with get $entryPoint $key }}
      {{- $value := printf "%s %v" $key . }}
      {{- if hasKey $taken $value }}
        {{- fail (printf "entryPoints: %s of %s is taken by %s already; give it another" $value $entryPoint.name (get $taken $value)) }}
      {{- end }}
      {{- $_ := set $taken $value $entryPoint.name }}
    {{- end }}
  {{- end }}
  {{- if and .nodePort (eq $.Values.service.type "ClusterIP") }}
    {{- fail (printf "entryPoints: nodePort of %s needs service.type: NodePort or LoadBalancer; it is ClusterIP" .name) }}
  {{- end }}
  {{- if and .hostPort (ne $.Values.kind "DaemonSet") }}
    {{- fail (printf "entryPoints: hostPort of %s needs kind: DaemonSet; two replicas on one node cannot have one port of it" .name) }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ferrix.checkService" -}}
{{- $service := .Values.service }}
{{- range $key := list "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" }}
  {{- if and (get $service $key) (ne $service.type "LoadBalancer") }}
    {{- fail (printf "service.%s needs service.type: LoadBalancer; it is %s" $key $service.type) }}
  {{- end }}
{{- end }}
{{- if and $service.externalTrafficPolicy (eq $service.type "ClusterIP") }}
  {{- fail "service.externalTrafficPolicy needs service.type: NodePort or LoadBalancer; it is ClusterIP" }}
{{- end }}
{{- if and (eq $service.ipFamilyPolicy "SingleStack") (gt (len $service.ipFamilies) 1) }}
  {{- fail "service.ipFamilies: two families need service.ipFamilyPolicy: PreferDualStack or RequireDualStack" }}
{{- end }}
{{- end }}

{{/* Of what the pods have, the API server takes no two of one name, and no two of one path. */}}
{{- define "ferrix.checkPod" -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds) }}
  {{- fail (printf "terminationGracePeriodSeconds (%d) is not above preStopSeconds (%d)" (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds)) }}
{{- end }}
{{- $volumes := dict "settings" "the chart" }}
{{- $paths := dict "/etc/ferrix" "the chart" }}
{{- if .Values.snapshot.enabled }}
  {{- $_ := set $volumes "snapshot" "snapshot" }}
  {{- $_ := set $paths "/run/ferrix" "snapshot" }}
{{- end }}
{{- if .Values.temporaryFolder.enabled }}
  {{- $_ := set $volumes "temporary" "temporaryFolder" }}
  {{- $_ := set $paths "/tmp" "temporaryFolder" }}
{{- end }}
{{- if .Values.sharedLimits.enabled }}
  {{- $_ := set $volumes "replicas" "sharedLimits" }}
  {{- $_ := set $paths "/etc/ferrix-replicas" "sharedLimits" }}
{{- end }}
{{- /* Those that every pod of the chart has. */}}
{{- $mountable := list "settings" }}
{{- range .Values.extraVolumes }}
  {{- $mountable = append $mountable .name }}
  {{- if hasKey $volumes .name }}
    {{- fail (printf "extraVolumes: the name %s is taken by %s already; give it another" .name (get $volumes .name)) }}
  {{- end }}
  {{- $_ := set $volumes .name "extraVolumes" }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
  {{- $path := trimSuffix "/" .mountPath }}
  {{- if hasKey $paths $path }}
    {{- fail (printf "extraVolumeMounts: %s is taken by %s already; give it another mountPath" .mountPath (get $paths $path)) }}
  {{- end }}
  {{- $_ := set $paths $path "extraVolumeMounts" }}
  {{- if not (has .name $mountable) }}
    {{- fail (printf "extraVolumeMounts: there is no volume %s; add it to extraVolumes" .name) }}
  {{- end }}
{{- end }}
{{- range .Values.extraEnv }}
  {{- if has .name (list "POD_NAME" "POD_NAMESPACE" "POD_UID" "POD_IP") }}
    {{- fail (printf "extraEnv: %s cannot be set: replicas know each other by it" .name) }}
  {{- end }}
{{- end }}
{{- end }}
