"""Who may connect. Pure: facts and compiled policies in, a decision with every policy's result out."""
