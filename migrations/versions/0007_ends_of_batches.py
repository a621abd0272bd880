"""How work on a batch ended; what a daemon that is gone left open is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("outcome", sa.Text(), nullable=True))
    op.execute("UPDATE batches SET outcome = 'done' WHERE ended_at IS NOT NULL")
    op.execute("UPDATE batches SET outcome = 'lost', ended_at = started_at WHERE ended_at IS NULL")


def downgrade() -> None:
    """Ledgers are not taken back: the backup that was made before is the way."""
