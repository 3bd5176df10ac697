# syntax=docker/dockerfile:1
# firstup-dde and tap-firstup-dde, with PostgreSQL, DuckDB, SFTP and S3.
#
#   docker build --tag tap-firstup-dde:0.2.0 .
#   docker run --rm --env-file firstup.env tap-firstup-dde:0.2.0 load --to postgresql://... --schema firstup
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/firstup \
    && /opt/firstup/bin/pip install --no-cache-dir --constraint constraints.txt '.[load,s3,sftp]'

FROM python:3.12.12-slim-bookworm
LABEL org.opencontainers.image.title="tap-firstup-dde" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/firstup /opt/firstup
ENV PATH=/opt/firstup/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin firstup
USER 10001
WORKDIR /tmp
# A load ends by itself; this is for containers that stay, such as one that a scheduler runs commands in.
HEALTHCHECK --interval=4h --timeout=5m --start-period=1m --retries=1 CMD ["firstup-dde", "doctor"]
ENTRYPOINT ["firstup-dde"]
CMD ["--help"]
