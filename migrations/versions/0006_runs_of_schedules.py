"""Whose a batch is: the schedule's run that started it; and when a run was last known to go on."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("schedule_run_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_batches_schedule_run", "batches", ["schedule_run_id"])
    op.add_column("schedule_runs", sa.Column("alive_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Ledgers are not taken back: the backup that was made before is the way."""
