{{/* The pods that serve: those of a Deployment, or of a DaemonSet. */}}
{{- define "ferrix.pod" -}}
metadata:
  labels:
    {{- include "ferrix.podLabels" . | nindent 4 }}
  annotations:
    # Ferrix reads its settings once: other settings are other pods.
    checksum/settings: {{ include "ferrix.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "ferrix.podSpec" . | nindent 2 }}
  {{- if .Values.snapshot.enabled }}
    # One more of the volumes, which come last there; the same of the mounts below.
    - name: snapshot
      emptyDir:
        medium: Memory
        sizeLimit: {{ .Values.snapshot.sizeLimit }}
  {{- end }}
  {{- if .Values.temporaryFolder.enabled }}
    - name: temporary
      emptyDir:
        sizeLimit: {{ .Values.temporaryFolder.sizeLimit }}
  {{- end }}
  {{- if .Values.sharedLimits.enabled }}
    - name: replicas
      secret:
        secretName: {{ .Values.sharedLimits.secretName | default (printf "%s-replicas" (include "ferrix.name" .)) }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if eq .Values.kind "Deployment" }}
  topologySpreadConstraints:
    # Replicas on one node would be lost together. Still better than none, so this may give way.
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "ferrix.selectorLabels" . | nindent 10 }}
      # The replicas of one version among themselves: those that leave do not count.
      matchLabelKeys: [pod-template-hash]
  {{- end }}
  containers:
    - {{ include "ferrix.container" . | indent 6 | trim }}
        {{- if .Values.snapshot.enabled }}
        - name: snapshot
          mountPath: /run/ferrix
        {{- end }}
        {{- if .Values.temporaryFolder.enabled }}
        - name: temporary
          mountPath: /tmp
        {{- end }}
        {{- if .Values.sharedLimits.enabled }}
        - name: replicas
          mountPath: /etc/ferrix-replicas
          readOnly: true
        {{- end }}
      args: [run, --config, /etc/ferrix/ferrix.yaml]
      ports:
        {{- range .Values.entryPoints }}
        - name: {{ .name }}
          containerPort: {{ .port }}
          {{- with .hostPort }}
          hostPort: {{ . }}
          {{- end }}
        {{- end }}
        - name: admin
          containerPort: 6192
        {{- if .Values.sharedLimits.enabled }}
        - name: replicas
          containerPort: 6193
          protocol: UDP
        {{- end }}
      # /healthz asks nothing of the API server: when that is away, Ferrix serves on, and a
      # restart would lose its table.
      startupProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 1
        failureThreshold: 30
      livenessProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      # Noticed within server.drain_delay.
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      lifecycle:
        # Nodes and load balancers get time to hear that this replica leaves, before it knows
        # itself. The kubelet sleeps: there is no shell in the image.
        preStop:
          sleep:
            seconds: {{ .Values.preStopSeconds }}
{{- end }}

{{/* What all pods of the chart have in common: rights, where they may run, volumes. */}}
{{- define "ferrix.podSpec" -}}
serviceAccountName: {{ include "ferrix.name" . }}
automountServiceAccountToken: true
# Variables for every Service of the namespace are of no use here.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: settings
    configMap:
      name: {{ include "ferrix.name" . }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What all containers of the chart have in common. */}}
{{- define "ferrix.container" -}}
name: ferrix
image: {{ include "ferrix.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# By these the replicas know each other.
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: POD_UID
    valueFrom:
      fieldRef:
        fieldPath: metadata.uid
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: settings
    mountPath: /etc/ferrix
    readOnly: true
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* A digest names one image for ever; a tag may be moved. */}}
{{- define "ferrix.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end -}}
{{- end -}}
{{- end }}
