# syntax=docker/dockerfile:1
# Basin on the CPU: built in an image with a compiler, run in one without.
#   docker build -t basin . && docker run --rm -p 127.0.0.1:8000:8000 basin

FROM node:24-bookworm AS build
WORKDIR /basin
COPY . .
# `npm ci` succeeds without the native engine if it cannot be built; the build of this image must not.
# `npm prune` would remove BullMQ, which is for `--fleet on`, with the other packages of development.
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund \
  && grep '"built":true' build/native.json \
  && npm pkg set "dependencies.bullmq=$(node -p 'require("bullmq/package.json").version')" \
  && npm pkg delete devDependencies.bullmq \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf src web build/Release/obj.target build/Release/.deps build/Release/*.a

# The same Debian release, so that the addon finds the libraries that it was linked with.
FROM node:24-bookworm-slim
WORKDIR /basin
COPY --from=build /basin .
ENV NODE_ENV=production \
  BASIN_HOST=0.0.0.0 \
  BASIN_PORT=8000
# The user `node`, by number: Kubernetes cannot tell that a name is not root.
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.BASIN_PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["serve"]
