"""The bulk path from Postgres to Arrow: binary COPY off the socket, decoded by compiled kernels. No Parquet here."""
