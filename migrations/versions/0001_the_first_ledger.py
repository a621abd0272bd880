"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    instances()
    sessions()
    phases()
    engine_runs()
    usage_hours()
    gpu_minutes()
    decisions()


def instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("instance_type", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("market", sa.Text(), nullable=True),
        sa.Column("gpu", sa.Text(), nullable=True),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_instances_machine", "instances", ["machine"])


def sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("instance_id", sa.BigInteger(), nullable=False),
        sa.Column("power_on_key", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("price_micros_per_hour", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("price_source", sa.Text(), nullable=True),
        sa.Column("price_dated", sa.BigInteger(), nullable=True),
        sa.Column("billing_rule", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"]),
    )
    op.create_index("ix_sessions_known", "sessions", ["heartbeat_at", "started_at"])
    op.create_index("ix_sessions_power_on", "sessions", ["power_on_key", "started_at"])
    still_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_sessions_open", "sessions", ["instance_id"], sqlite_where=still_open, postgresql_where=still_open
    )


def phases() -> None:
    op.create_table(
        "phases",
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "started_at"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sqlite_with_rowid=False,
    )


def engine_runs() -> None:
    op.create_table(
        "engine_runs",
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("startup", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "number"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
    )
    op.create_index("ix_engine_runs_model", "engine_runs", ["engine", "model", "started_at"])


def usage_hours() -> None:
    op.create_table(
        "usage_hours",
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("hour_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("generation_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "hour_at", "model"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sqlite_with_rowid=False,
    )


def gpu_minutes() -> None:
    op.create_table(
        "gpu_minutes",
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("minute_at", sa.BigInteger(), nullable=False),
        sa.Column("gpu_index", sa.BigInteger(), nullable=False),
        sa.Column("gpu", sa.Text(), nullable=False),
        sa.Column("utilisation_percent", sa.BigInteger(), nullable=True),
        sa.Column("memory_used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("power_milliwatts", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "minute_at", "gpu_index"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sqlite_with_rowid=False,
    )


def decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("acted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
    )
    op.create_index("ix_decisions_session", "decisions", ["session_id", "at"])


def downgrade() -> None:
    """Ledgers are not taken back: the backup that was made before is the way."""
